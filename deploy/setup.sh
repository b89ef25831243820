#!/bin/sh
# Make .venv: an interpreter >= 3.11, the packages of requirements.lock, this project (editable).
# Safe to run twice, after an interruption, and from two terminals at once. Silent when all is done.
# PYTHON=/path/to/python chooses the interpreter.
set -eu

cd "$(dirname "$0")/.."
venv=.venv
ready=$venv/.ready
log=

say() { printf 'setup: %s\n' "$1"; }

fail() {
    printf 'setup: %s\n' "$1" >&2
    exit 1
}

# Run a command quietly; what it said is kept for `explain`.
quietly() { "$@" >"$log" 2>&1 </dev/null; }

explain() { tail -n 25 "$log" | sed 's/^/    /' >&2; }

# What must be unchanged for .venv to be used as it is: packages, metadata, and the place
# (an editable install holds an absolute path, so a moved or copied tree needs a new one).
fingerprint() {
    pwd -P
    cksum requirements.lock pyproject.toml
}

is_ready() {
    [ -f "$ready" ] && [ "$(fingerprint)" = "$(cat "$ready")" ] && "$venv/bin/python" -c '' 2>/dev/null
}

# A finished .venv of this very folder can be brought up to date; anything else is made anew.
is_usable() {
    [ -f "$ready" ] && [ "$(pwd -P)" = "$(head -n 1 "$ready")" ] && "$venv/bin/python" -c '' 2>/dev/null
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for name in ${PYTHON:+"$PYTHON"} python3.11 python3 python3.12 python3.13 python3.14 python; do
        if is_new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    return 1
}

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

with_venv() {
    rm -rf "$venv"
    quietly "$python" -m venv "$venv"
}

# Debian's venv needs a package of its own, but a pip that is there can fill a bare environment.
with_outer_pip() {
    rm -rf "$venv"
    quietly "$python" -m venv --without-pip "$venv" &&
        quietly "$python" -m pip --python "$venv/bin/python" --version &&
        quietly "$python" -m pip --python "$venv/bin/python" install --no-input --require-hashes \
            --only-binary :all: -r requirements.lock
}

with_apt() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "installing python$version-venv, which this Python lacks"
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get update || true
    quietly apt-get install -y --no-install-recommends "python$version-venv" ||
        quietly apt-get install -y --no-install-recommends python3-venv || {
        explain
        return 1
    }
    with_venv
}

create() {
    python=$(find_python) ||
        fail 'no Python 3.11 or newer found: install one (Debian: apt-get install python3 python3-venv), or set PYTHON=/path/to/python'
    version=$(version_of "$python")
    say "creating .venv with Python $version ($python)"
    with_venv || with_outer_pip || with_apt ||
        fail "cannot create a virtual environment: run 'apt-get install python$version-venv' as root, then try again"
}

install() {
    if ! quietly "$venv/bin/python" -m pip install --no-input --disable-pip-version-check "$@"; then
        explain
        fail 'pip failed (its last lines are above): check the network, then try again'
    fi
}

main() {
    if is_ready; then
        return
    fi
    if command -v flock >/dev/null; then
        exec 9>.venv.lock
        flock 9
    fi
    if is_ready; then
        return
    fi
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    trap 'exit 130' INT TERM HUP
    if ! is_usable; then
        create
    fi
    rm -f "$ready"
    say 'installing the locked packages'
    install --require-hashes --only-binary :all: -r requirements.lock
    say 'installing flowmq itself (editable)'
    install --no-deps --no-build-isolation -e .
    fingerprint >"$ready.new"
    mv "$ready.new" "$ready"
    say 'ready'
}

main
