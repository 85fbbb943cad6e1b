#!/bin/sh
# Style, types, and the tests against a running host: ./test.sh http://127.0.0.1:7878 [API_KEY]
set -eu
[ $# -ge 1 ] || { echo "usage: $0 URL [API_KEY]" >&2; exit 2; }
export AGENT_HOST_URL="$1" AGENT_HOST_KEY="${2:-}"
cd "$(dirname "$0")"

venv=build/venv
if ! cat requirements.txt requirements-check.txt | cmp -s - "$venv/requirements.txt"; then
    python3 -m venv --clear "$venv"
    # The SDK without the `claude` that its wheels bring along, of 250 MB: a test that needs one says which.
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-binary claude-agent-sdk \
        --requirement requirements-check.txt
    cat requirements.txt requirements-check.txt > "$venv/requirements.txt"
fi
export PYTHONPYCACHEPREFIX="$PWD/build/pycache"
"$venv/bin/ruff" check
"$venv/bin/ruff" format --check
"$venv/bin/mypy"
"$venv/bin/pytest"
