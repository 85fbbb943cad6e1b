#!/bin/sh
# Types, and the tests against a running host: ./test.sh http://127.0.0.1:7878 [API_KEY]
set -eu
[ $# -ge 1 ] || { echo "usage: $0 URL [API_KEY]" >&2; exit 2; }
export AGENT_HOST_URL="$1" AGENT_HOST_KEY="${2:-}"
cd "$(dirname "$0")"
[ -d node_modules ] || npm ci --no-audit --no-fund --silent
npm test --silent
