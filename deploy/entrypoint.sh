#!/bin/sh
# Run `flow`. FLOW_BROKER and FLOW_STORE hold passwords, so they may stand in files instead:
# FLOW_BROKER_FILE and FLOW_STORE_FILE name these, as secrets of Docker and Kubernetes are mounted.
set -eu

for name in FLOW_BROKER FLOW_STORE; do
    eval "file=\${${name}_FILE:-}"
    if [ -n "$file" ]; then
        if [ ! -r "$file" ]; then
            printf 'flow: %s_FILE names %s, which cannot be read\n' "$name" "$file" >&2
            exit 2
        fi
        value=$(cat "$file")
        export "$name=$value"
        unset "${name}_FILE"
    fi
done

# The shell becomes `flow`, so that SIGTERM reaches it.
exec flow "$@"
