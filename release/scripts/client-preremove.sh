#!/bin/sh
# dpkg says `remove` or `upgrade`, rpm 0 or, before an upgrade, 1: the new version's files are there by then.
set -e

case "$1" in
    remove | 0)
        systemctl --quiet disable zerotrust-agent.socket 2>/dev/null || true
        systemctl --quiet --global disable zerotrust-agent-user.socket 2>/dev/null || true
        if [ -d /run/systemd/system ]; then
            systemctl stop zerotrust-agent.socket zerotrust-agent.service
        fi
        ;;
    upgrade) ;;
    *) exit 0 ;;
esac
find /usr/lib/zerotrust -name __pycache__ -prune -exec rm -rf {} +
