#!/usr/bin/env bash
# Makes .venv/debian.tar, a small Debian that tests boot and install packages in; at once while its list (debian.txt) is what it was.
#
# It comes from where this machine's own packages come from. Needs root or sudo; booting it needs root.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
list=requirements/debian.txt
tree=.venv/debian.tar
stamp=.venv/debian.txt

if cmp --silent "$list" "$stamp" && [[ -e $tree ]]; then
    exit 0
fi
as_root=()
if [[ "$(id -u)" != 0 ]]; then
    if ! command -v sudo >/dev/null; then
        echo "debian: become root, or install sudo, then run again: only root can make the tree that machines are booted from" >&2
        exit 1
    fi
    as_root=(sudo)
fi

started=$SECONDS
echo "debian: making $tree"
rm -f "$stamp"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
include="$(grep -v '^#' "$list" | paste --serial --delimiters=,)"
# shellcheck disable=SC2016  # what stands between the quotes is apt's, and the hooks' own shell's, to expand
apt-get indextargets --format 'deb $(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | sort --unique |
    "${as_root[@]}" mmdebstrap --quiet --variant=minbase --include="$include" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --customize-hook='systemctl --quiet --root="$1" disable krb5-admin-server krb5-kdc redis-server' \
        --customize-hook='rm -f "$1"/etc/resolv.conf "$1"/etc/hostname "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap' \
        '' "$tree" - >"$log" 2>&1 || {
    cat "$log" >&2
    exit 1
}
cp "$list" "$stamp"
echo "debian: done in $((SECONDS - started)) s"
