#!/usr/bin/env bash
# Measures Safeconduct and OPA side by side: the same rule, the same requests, turns taken in one run.
#
#   bench/run.sh [options of bench/load: -rounds 4 -duration 8s -conns 16]
#   ONLY=opa bench/run.sh, ONLY=ours bench/run.sh      one side alone
#
# Safeconduct records every decision durably on SQLite before it answers; OPA writes no decision log
# and no request log. Both listen on loopback and are stopped at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
export GOTOOLCHAIN=local GOFLAGS='-mod=readonly -buildvcs=false' GOWORK=off

work=$(mktemp -d)
pids=()
finish() {
  ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

port() { echo $((20000 + RANDOM % 20000)); }

# ready URL PID waits until the service answers 200.
ready() {
  for _ in $(seq 200); do
    if curl -fsS -o /dev/null "$1" 2>/dev/null; then return; fi
    kill -0 "$2" 2>/dev/null || break
    sleep 0.1
  done
  echo "bench: $1 does not become ready" >&2
  tail -n 20 "$work"/*.log >&2
  exit 1
}

go build -o "$work/load" ./bench/load
"$work/load" -write "$work"
sides=()

if [[ ${ONLY:-opa} == opa ]]; then
  go -C bench/opa build -o "$work/opa" github.com/open-policy-agent/opa
  at=127.0.0.1:$(port)
  "$work/opa" run --server --addr "$at" --log-level error --disable-telemetry \
    "$work/organisation.rego" "$work/data.json" >"$work/opa.log" 2>&1 &
  pids+=($!)
  ready "http://$at/health" $!
  sides+=(-opa "http://$at,$!")
fi

if [[ ${ONLY:-ours} == ours ]]; then
  go build -o "$work/safeconduct" ./cmd/safeconduct
  at=127.0.0.1:$(port)
  cat >"$work/config.yaml" <<END
organisation:
  catalog: catalog.json
  schema: organisation.cedarschema
  policies: [organisation.cedar]
  agents: agents.json
END
  token=bench-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  printf '%s\n' "$token" >"$work/token"
  SAFECONDUCT_PEP_TOKEN=$token "$work/safeconduct" serve --config "$work/config.yaml" \
    --data "$work/data" --listen "$at" >"$work/ours.log" 2>&1 &
  pids+=($!)
  ready "http://$at/readyz" $!
  sides+=(-ours "http://$at,$!" -token "$work/token")
fi

"$work/load" "${sides[@]}" "$@"
