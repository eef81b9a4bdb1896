"""Rewraps one document again and again, retiring what is behind it, in processes that somebody kills.

``python -m tests.fakes.rewrap_until_killed ACCESS``: the members of a ``TransitAccess`` as JSON. Each line of standard input
begins one process more, whose number is printed; all of them are forked from here, where everything is imported already.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from broker.admin.assembled import TransitAccess
from broker.assembly.transit import Documents
from broker.core.errors import SecretsUnavailable, VersionConflict
from tests.fakes.documents import PLACE

_FILES = ("vault_ca_file", "vault_token_file", "kubernetes_ca_file", "kubernetes_token_file")


def main() -> None:
    members = json.loads(sys.argv[1])
    paths = {name: members[name] and Path(members[name]) for name in _FILES}
    documents = Documents(TransitAccess(**{**members, **paths}))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever is killed is gone at once
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            rewrap_for_ever(documents)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def rewrap_for_ever(documents: Documents) -> None:
    while True:
        try:
            documents.rewrap([PLACE], retire=True)
        except (SecretsUnavailable, VersionConflict):
            continue  # others are at it, too; every other failure ends the process, and the test sees that


if __name__ == "__main__":
    main()
