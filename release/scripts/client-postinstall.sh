#!/bin/sh
# dpkg says `configure` and the version that was there, and `triggered` when there is another Python; rpm says 1, or 2.
set -e

case "$1" in
    configure | triggered | 1 | 2) ;;
    *) exit 0 ;;
esac

# Each call would compile it again: users may not write here.
/usr/bin/python3 -I -m compileall -q -f --invalidation-mode unchecked-hash /usr/lib/zerotrust

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # Callers ask the broker themselves meanwhile; the socket stays.
    systemctl try-restart zerotrust-agent.service
fi
