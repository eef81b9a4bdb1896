#!/bin/sh
# dpkg says `configure` and the version that was there; rpm says 1, or 2 over an older one.
set -e

case "$1" in
    configure) older="$2" ;;
    1) older="" ;;
    2) older="something" ;;
    *) exit 0 ;;
esac

systemd-sysusers zerotrust.conf
systemd-tmpfiles --create zerotrust.conf
# As it came out of the package, and in no other case.
find /etc/zerotrust/config.yaml -user root -group root -perm 0600 -exec chgrp zerotrust {} + -exec chmod 0640 {} +
journalctl --update-catalog

if [ ! -d /run/systemd/system ]; then
    exit 0
fi
systemctl daemon-reload
if [ -z "$older" ]; then
    exit 0
fi

# policy-rc.d(8) is asked where there is one.
if command -v deb-systemd-invoke >/dev/null; then
    invoke=deb-systemd-invoke
else
    invoke=systemctl
fi
# What runs is renewed, one after the other: instances that share a port answer meanwhile. One that does not come up (its
# configuration may not do any more) leaves the others as they are, and the package is installed all the same.
systemctl list-units --plain --no-legend --state=active 'zerotrust-broker.service' 'zerotrust-broker@*.service' |
    while read -r unit _; do
        if ! $invoke restart "$unit"; then
            echo "zerotrust-broker: $unit did not start with the new version; those after it were left as they were." >&2
            echo "See: systemctl status $unit; zerotrust-broker check-config" >&2
            break
        fi
    done
