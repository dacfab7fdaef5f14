#!/usr/bin/env bash
# Measures what the MCP gateway adds to a call when it decides in its own process: the real binary, the policies of
# examples/mcp, which let the calls pass, each decision in the journal before the call is passed on.
#
#   bench/mcphop.sh [options of bench/mcphop: -calls 4000 -conns 16 -duration 3s -sessions 10000]
#
# On the same cores run the client, the server and the service that takes the journal in. Whoever calls is the
# assistant: no tokens are verified.
set -euo pipefail
cd "$(dirname "$0")/.."
export GOTOOLCHAIN=local GOFLAGS='-mod=readonly -buildvcs=false' GOWORK=off

work=$(mktemp -d)
running=()
trap 'kill "${running[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
umask 077
go build -o "$work/mcphop" ./bench/mcphop
go build -o "$work/safeconduct" ./cmd/safeconduct
cp -r examples/mcp/. "$work"
service=127.0.0.1:$((20000 + RANDOM % 10000)) gateway=127.0.0.1:$((30000 + RANDOM % 2000))

# ready ADDRESS LOG waits until what was started last says there that it is ready.
ready() {
  for _ in $(seq 200); do
    if curl -fsS -o /dev/null "http://$1/readyz" 2>/dev/null; then return; fi
    kill -0 "${running[-1]}" 2>/dev/null || break
    sleep 0.1
  done
  tail -n 20 "$2" >&2
  exit 1
}

printf 'bench-%s' "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" >"$work/admin"
export SAFECONDUCT_URL=http://$service SAFECONDUCT_ADMIN_TOKEN
SAFECONDUCT_ADMIN_TOKEN=$(<"$work/admin")
"$work/safeconduct" serve --config "$work/safeconduct.yaml" --data "$work/data" --listen "$service" >"$work/service.log" 2>&1 &
running+=($!)
ready "$service" "$work/service.log"
"$work/safeconduct" caller create bench --role edge --why 'measures' >"$work/edge.token" 2>"$work/caller.log"

mkfifo "$work/open"
"$work/mcphop" -role server <"$work/open" >"$work/server.addr" &
running+=($!)
exec 3>"$work/open"
until [[ -s $work/server.addr ]]; do sleep 0.05; done
server=$(<"$work/server.addr")

cat >"$work/mcp.yaml" <<END
name: bench
listen: $gateway
service: {url: "http://$service", token_file: edge.token}
authorization: {type: none, subject: {type: agent, id: assistant}}
decide: local
journal: journal
upstreams: [{name: one, url: "http://$server/mcp"}]
pins: pins.json
END
"$work/safeconduct" gateway mcp --config "$work/mcp.yaml" >"$work/gateway.log" 2>&1 &
pid=$!
running+=("$pid")
ready "$gateway" "$work/gateway.log"
"$work/mcphop" -server "$server" -gateway "$gateway,$pid" "$@" || { tail -n 20 "$work/gateway.log" >&2; exit 1; }
"$work/safeconduct" audit find --action tools/call --limit 3
