#!/bin/sh
# dpkg says `remove` and `purge`, rpm 0.
set -e

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
if [ "$1" = purge ]; then
    rmdir /etc/zerotrust 2>/dev/null || true
fi
