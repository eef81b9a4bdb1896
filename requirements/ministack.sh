#!/usr/bin/env bash
# Installs ministack, which judges what the broker tells AWS, from its own lock into .venv/ministack; at once when it is there.
#
# An environment of its own: it pins another botocore than the broker has.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-/usr/bin/python3}"
lock=requirements/ministack.txt
venv=.venv/ministack

if ! cmp --silent "$lock" "$venv/installed.txt"; then
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input install --require-hashes --requirement "$lock"
    cp "$lock" "$venv/installed.txt"
fi
