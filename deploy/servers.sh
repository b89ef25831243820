#!/bin/sh
# Make sure that RabbitMQ and PostgreSQL can be started by the tests, each on ports of its own.
# Installs what is missing on Debian as root; else says what to install. Silent when all is there.
set -eu

policy=/usr/sbin/policy-rc.d
log=
wrote_policy=

say() { printf 'servers: %s\n' "$1"; }

fail() {
    printf 'servers: %s\n' "$1" >&2
    exit 1
}

# Run a command quietly; what it said is kept for `explain`.
quietly() { "$@" >"$log" 2>&1 </dev/null; }

explain() { tail -n 25 "$log" | sed 's/^/    /' >&2; }

has_rabbitmq() { [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || command -v rabbitmq-server >/dev/null; }

# Debian keeps the programs of each version in a folder of their own.
has_postgres() {
    for program in /usr/lib/postgresql/*/bin/initdb; do
        [ ! -x "$program" ] || return 0
    done
    command -v initdb >/dev/null
}

missing() {
    has_rabbitmq || printf 'rabbitmq-server '
    has_postgres || printf 'postgresql '
}

clean_up() {
    if [ -n "$wrote_policy" ]; then
        rm -f "$policy"
    fi
    rm -f "$log"
}

# Installing a server also starts it, unless this file says no.
forbid_starting() {
    if [ ! -e "$policy" ]; then
        wrote_policy=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
}

# The lists of packages are often a moment out of date, and mirrors a moment out of reach.
install() {
    for attempt in 1 2 3; do
        if quietly apt-get update &&
            quietly apt-get install -y --no-install-recommends "$@"; then
            return
        fi
        sleep $((attempt * 5))
    done
    explain
    fail "apt-get failed (its last lines are above): check the network, then try again"
}

main() {
    wanted=$(missing)
    if [ -z "$wanted" ]; then
        return
    fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "the tests start servers of their own; install these first (Debian: as root, apt-get install $wanted)"
    fi
    if command -v flock >/dev/null; then
        exec 9>/run/lock/flow-servers
        flock 9
        wanted=$(missing)
    fi
    log=$(mktemp)
    trap clean_up EXIT
    trap 'exit 130' INT TERM HUP
    forbid_starting
    say "installing $wanted"
    export DEBIAN_FRONTEND=noninteractive
    # The list is meant to be split into words.
    # shellcheck disable=SC2086
    install $wanted
    [ -z "$(missing)" ] || fail "installed, but still missing: $(missing)"
    say 'ready'
}

main
