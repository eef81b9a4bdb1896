#!/usr/bin/env bash
# Installs the Debian packages of the named lists that are missing; does nothing, at once, when none is.
#
#   requirements/system.sh setup demo        reads system-setup.txt and system-demo.txt beside this file
#
# Needs root or sudo only when something is missing. The services that come with the packages are neither started nor
# enabled: the demo and the tests run servers of their own, and a machine should not gain a Redis because of them.
set -euo pipefail

lists="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

wanted=()
for name in "$@"; do
    mapfile -t -O "${#wanted[@]}" wanted < <(grep -v '^#' "$lists/system-$name.txt")
done

if ! command -v apt-get >/dev/null; then
    echo "system packages: this is no Debian; make sure that the equivalents of these are installed: ${wanted[*]}" >&2
    exit 0
fi

installed="$(dpkg-query --show --showformat='${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null |
    sed -n 's/ installed$//p' || true)"
mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}" | sort) <(sort <<<"$installed"))
if [[ ${#missing[@]} == 0 ]]; then
    exit 0
fi

as_root=()
if [[ "$(id -u)" != 0 ]]; then
    if ! command -v sudo >/dev/null; then
        echo "system packages: become root, or install sudo, then run again; missing: ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

# Debian's way to install without starting (invoke-rc.d(8)); an administrator's own policy stays as it is.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 755 /dev/stdin "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi

apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
        apt-get -qq -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 "$@" </dev/null
}

log="$(mktemp)"
quietly() {
    "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        return 1
    }
}

started=$SECONDS
echo "system packages: installing ${missing[*]}"
quietly apt update
quietly apt install --yes --no-install-recommends "${missing[@]}"

# A package may bring services under other names than its own (samba: smbd, nmbd, samba-ad-dc), or as an init script (slapd).
if command -v systemctl >/dev/null; then
    dpkg --listfiles "${missing[@]}" |
        sed -n -e 's|^/.*/systemd/system/\([^/@]*\.service\)$|\1|p' -e 's|^/etc/init.d/\(.*\)$|\1.service|p' | sort -u |
        while read -r service; do
            quietly "${as_root[@]}" systemctl disable "$service"
        done
fi
rm -f "$log"
echo "system packages: done in $((SECONDS - started)) s"
