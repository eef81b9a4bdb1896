"""SPNEGO tokens by the thousand, each good for one request.

Made in worker processes before the clock starts: making one costs what accepting one does.
"""

from __future__ import annotations

import base64
import itertools
import os
from collections.abc import Mapping, Sequence

# RFC 4178: what browsers and curl send.
SPNEGO = "1.3.6.1.5.5.2"


def enter(variables: Mapping[str, str], cores: Sequence[int]) -> None:
    """Make this worker the user whose ticket cache and realm the variables name; let it run on these cores."""
    os.environ.update(variables)
    os.sched_setaffinity(0, set(cores))


def make(count: int, service: str, ccaches: Sequence[str] = ()) -> list[bytes]:
    """Values of ``Authorization`` for a host-based service such as ``HTTP@localhost``, as curl would send them.

    Each has its own authenticator, so no replay cache takes two of them for one. With ``ccaches`` they are of their owners in
    turn, else of the user who this worker is.
    """
    import gssapi  # noqa: PLC0415  # libkrb5 reads the variables of ``enter`` when it is first used
    from gssapi import raw  # noqa: PLC0415

    spnego = gssapi.OID.from_int_seq(SPNEGO)
    target = raw.import_name(service.encode(), gssapi.NameType.hostbased_service)
    if ccaches:
        stores: list[dict[bytes | str, bytes | str]] = [{"ccache": ccache} for ccache in ccaches]
        owners = [raw.acquire_cred_from(store, mechs=[spnego], usage="initiate").creds for store in stores]
    else:
        owners = [raw.acquire_cred(None, usage="initiate", mechs=[spnego]).creds]
    made = []
    for _, own in zip(range(count), itertools.cycle(owners), strict=False):
        token = raw.init_sec_context(target, creds=own, mech=spnego).token or b""
        made.append(b"Negotiate " + base64.b64encode(token))
    return made
