#!/bin/sh
# Makes build/hook.wasm, with everything that it needs in build/. Needs python3 (3.11 or later).
set -eu
cd "$(dirname "$0")"

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "build.sh needs Python 3.11 or later; python3 is $(python3 --version)" >&2
    exit 1
fi
venv=build/venv
if ! cmp -s requirements.txt "$venv/requirements.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --requirement requirements.txt
    cp requirements.txt "$venv/requirements.txt"
fi
componentize="$venv/bin/componentize-py --quiet --wit-path wit --world example:hook/component"

# For editors and check.sh. The component gets its own, connected to the host.
rm -rf build/bindings
$componentize bindings build/bindings

# Modules of an environment are bundled, wanted or not. This one has none.
export VIRTUAL_ENV="$PWD/build/no-packages"
mkdir -p "$VIRTUAL_ENV/lib/python3/site-packages"
# From a copy, since the Python that runs while the component is made keeps its caches beside modules.
rm -rf build/src
cp -R src build/src
# Moved into place as a whole, since a host may be watching the file.
$componentize componentize hook --python-path build/src --output build/hook.wasm.new
mv build/hook.wasm.new build/hook.wasm
