#!/usr/bin/env bash
# Makes .venv from the hash-locked requirements and installs this project into it, editable; at once when nothing changed.
#
# PYTHON names the interpreter (/usr/bin/python3 unless set): the system's own, because that one has the headers that
# python-gssapi is compiled against.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-/usr/bin/python3}"
venv=.venv
locks=(requirements/build.txt requirements/dev.txt)

# Each stamp is the list of checksums that `sha256sum --check` accepts while the files are what they were.
current() { [[ -x $venv/bin/python ]] && sha256sum --check --status "$venv/$1.sha256" 2>/dev/null; }
stamp() {
    local name="$1"
    shift
    sha256sum "$@" >"$venv/$name.sha256"
}
pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input "$@"; }

if ! current locks; then
    started=$SECONDS
    echo "python packages: installing into $venv (compiling gssapi takes about a minute the first time)"
    "$python" -m venv "$venv"
    pip install --require-hashes --requirement requirements/build.txt
    # Without isolation the one source distribution is built by the locked tools just installed, not by fresh downloads.
    pip install --require-hashes --no-build-isolation --requirement requirements/dev.txt
    stamp locks "${locks[@]}"
    echo "python packages: done in $((SECONDS - started)) s"
fi

if ! current project; then
    pip install --no-index --no-deps --no-build-isolation --editable .
    stamp project pyproject.toml
fi
