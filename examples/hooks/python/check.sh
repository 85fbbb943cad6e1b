#!/bin/sh
# Style, types and unit tests, on this machine. A host tries the rest (see README.md).
set -eu
cd "$(dirname "$0")"

./build.sh
venv=build/check-venv
if ! cat requirements.txt requirements-check.txt | cmp -s - "$venv/requirements.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement requirements-check.txt
    cat requirements.txt requirements-check.txt > "$venv/requirements.txt"
fi
export PYTHONPYCACHEPREFIX="$PWD/build/pycache"
"$venv/bin/ruff" check
"$venv/bin/ruff" format --check
"$venv/bin/mypy"
"$venv/bin/pytest"
