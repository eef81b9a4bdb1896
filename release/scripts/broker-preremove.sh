#!/bin/sh
# dpkg says `remove`, rpm 0; before an upgrade, in which everything goes on running, `upgrade` and 1.
set -e

case "$1" in
    remove | 0) ;;
    *) exit 0 ;;
esac

# Instances too, which only their links know by name.
for link in /etc/systemd/system/*.wants/zerotrust-broker* /etc/systemd/system/*.wants/zerotrust-probe*; do
    if [ -L "$link" ]; then
        systemctl --quiet disable "${link##*/}"
    fi
done
if [ -d /run/systemd/system ]; then
    systemctl stop 'zerotrust-broker*' 'zerotrust-probe*'
fi
