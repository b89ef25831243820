#!/bin/sh
# Install the built wheel into an environment of its own, and try it far from the source.
set -eu

cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The locked versions, without hashes: a wheel built a moment ago has none to compare.
sed -n '/==/s/ *\\$//p' requirements.lock >"$scratch/constraints.txt"

# Run a command far from the source; say what it said only if it fails.
try() {
    (cd "$scratch" && "$@") >"$scratch/log" 2>&1 || {
        cat "$scratch/log" >&2
        printf 'wheel-test: failed: %s\n' "$*" >&2
        exit 1
    }
}

install() {
    try "$python" -m pip --python "$scratch/venv/bin/python" install --no-input \
        --disable-pip-version-check --constraint "$scratch/constraints.txt" "$@"
}

"$python" -m hatchling build -t wheel -d "$scratch/dist" >"$scratch/log" 2>&1 || {
    cat "$scratch/log" >&2
    exit 1
}
try "$python" -m venv --without-pip "$scratch/venv"
wheel=$(ls "$scratch"/dist/flowmq-*.whl)

install "$wheel"
# The command works without any extra.
try ./venv/bin/flow --help

install "$wheel[rabbitmq,postgres,fast]"
find brokers flow store -name '*.py' -o -name '*.sql' -o -name py.typed | sort >"$scratch/shipped.txt"
cat >"$scratch/smoke.py" <<'PYTHON'
import importlib
import pathlib
import sys
import sysconfig

site = pathlib.Path(sysconfig.get_path("purelib"))
shipped = [pathlib.PurePosixPath(line) for line in pathlib.Path("shipped.txt").read_text().split()]
missing = [str(path) for path in shipped if not (site / path).is_file()]
if missing:
    sys.exit(f"wheel-test: the wheel lacks {', '.join(missing)}")
modules = [path.with_suffix("") for path in shipped if path.suffix == ".py" and path.stem != "__main__"]
for module in modules:
    name = ".".join(module.parent.parts if module.name == "__init__" else module.parts)
    found = importlib.import_module(name).__file__
    if not pathlib.Path(found).is_relative_to(site):
        sys.exit(f"wheel-test: {name} was imported from {found}, not from the wheel")
print(f"wheel-test: {len(modules)} modules imported, {len(shipped)} files shipped")
PYTHON
try ./venv/bin/python -I smoke.py
cat "$scratch/log"
