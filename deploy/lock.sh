#!/bin/sh
# Write requirements.lock: runtime, extras, tools and build backend, for every platform, with hashes.
set -eu

cd "$(dirname "$0")/.."
sh deploy/setup.sh

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
.venv/bin/python -m venv --without-pip "$scratch/venv"
.venv/bin/python -m pip --python "$scratch/venv/bin/python" install --quiet 'uv>=0.5.27,<1'
"$scratch/venv/bin/python" -m uv pip compile --quiet --no-config --universal --python-version 3.11 \
    --upgrade --generate-hashes --no-emit-index-url --no-annotate \
    --custom-compile-command 'make lock' \
    --all-extras --group dev --group build pyproject.toml --output-file requirements.lock
printf 'lock: %s packages pinned; `make setup` installs them\n' "$(grep -c == requirements.lock)"
