#!/usr/bin/env bash
# Installs what the tests sign with as a user of JavaScript would, from the lock beside this, into .venv; at once when it is there.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
locked=requirements/javascript
into=.venv/javascript
bin="$PWD/.venv/bin"

# Node brings certificates of its own; a mirror inside a company is known to the system's, as for pip and apt.
system=/etc/ssl/certs/ca-certificates.crt
if [[ -z ${NODE_EXTRA_CA_CERTS:-} && -r $system ]]; then
    export NODE_EXTRA_CA_CERTS="$system"
fi

if ! cmp --silent "$locked/package-lock.json" "$into/installed-lock.json"; then
    mkdir -p "$into"
    cp "$locked/package.json" "$locked/package-lock.json" "$into"
    PATH="$bin:$PATH" npm --prefix "$into" ci --ignore-scripts --no-audit --no-fund --silent
    cp "$locked/package-lock.json" "$into/installed-lock.json"
fi
