#!/usr/bin/env bash
# Measures the authorization server: passports issued and introspections answered a second, and the
# processor time of each.
#
#   bench/tokens.sh [options of bench/tokens: -agents 100 -conns 128 -requests 20000 -rounds 3]
#
# It serves bench/fixture's organisation on SQLite, with one core for the server and the rest of the
# machine for the generator, as far as taskset is there and there is more than one.
set -euo pipefail
cd "$(dirname "$0")/.."
export GOTOOLCHAIN=local GOFLAGS='-mod=readonly -buildvcs=false' GOWORK=off

work=$(mktemp -d)
pid=
trap '[[ -z $pid ]] || kill "$pid" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT

go build -o "$work/load" ./bench/load
go build -o "$work/tokens" ./bench/tokens
go build -o "$work/safeconduct" ./cmd/safeconduct
"$work/load" -write "$work"
cat >"$work/tokens.cedar" <<'END'
@id("carry-what-was-granted")
permit (principal is Agent, action == Action::"token.issue", resource is Capability)
unless { context.observed.grant.within.isEmpty() };
END
cat >"$work/config.yaml" <<END
organisation:
  catalog: catalog.json
  schema: organisation.cedarschema
  policies: [organisation.cedar, tokens.cedar]
  agents: agents.json
END
for who in admin pep; do
  printf 'bench-%s\n' "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" >"$work/$who"
done
at=127.0.0.1:$((20000 + RANDOM % 20000))
server=() generator=()
if command -v taskset >/dev/null && (($(nproc) > 1)); then
  server=(taskset -c 0) generator=(taskset -c "1-$(($(nproc) - 1))")
fi
SAFECONDUCT_ADMIN_TOKEN=$(<"$work/admin") SAFECONDUCT_PEP_TOKEN=$(<"$work/pep") \
  "${server[@]}" "$work/safeconduct" serve --config "$work/config.yaml" --data "$work/data" --listen "$at" >"$work/log" 2>&1 &
pid=$!
for _ in $(seq 200); do
  if curl -fsS -o /dev/null "http://$at/readyz" 2>/dev/null; then break; fi
  kill -0 "$pid" 2>/dev/null || { tail -n 20 "$work/log" >&2; exit 1; }
  sleep 0.1
done
"${generator[@]}" "$work/tokens" -url "http://$at" -pid "$pid" -admin "$work/admin" -pep "$work/pep" "$@" || { tail -n 20 "$work/log" >&2; exit 1; }
