"""Makes the PAC vectors anew: `python -m tests.vectors.pac.build`, as anybody who may start Samba.

Each NAME.ndr is a KERB_VALIDATION_INFO as GSS-API hands it out, each NAME.json what Samba's own reader finds in it. All but
`foreign` come out of tickets of the throw-away Active Directory; that one is written by Samba's bindings, because only Windows
fills the resource groups that it shows. `delegated` is an S4U_DELEGATION_INFO of two services, written by Samba's bindings too.
The vectors stay what they are unless the directory they come from changes.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.fakes.active_directory import (
    DOMAIN_SID,
    ActiveDirectory,
    samba_reads,
    samba_writes,
    samba_writes_delegations,
)

HERE = Path(__file__).parent
FOREIGN_DOMAIN = "S-1-5-21-1004336348-1177238915-682003330"

# Mandatory, enabled by default, enabled; the same for a resource group; only for denying; listed, but not enabled.
NORMAL, RESOURCE, DENY_ONLY, DISABLED = 0x7, 0x2000_0007, 0x10 | 0x4, 0x1

FOREIGN = {
    "domain_sid": DOMAIN_SID,
    "user_rid": 1_105,
    "primary_rid": 513,
    "rids": [[513, NORMAL], [1_201, NORMAL], [1_202, DENY_ONLY], [1_203, DISABLED]],
    "sids": [
        ["S-1-18-1", NORMAL],
        [f"{FOREIGN_DOMAIN}-519", NORMAL],
        [f"{FOREIGN_DOMAIN}-520", DENY_ONLY],
        [f"{DOMAIN_SID}-1301", NORMAL],
    ],
    "resource_domain_sid": FOREIGN_DOMAIN,
    "resource_rids": [[1_401, RESOURCE], [1_402, DISABLED], [1_403, RESOURCE]],
    # Of odd and even lengths, so that padding differs, and beyond ASCII.
    "strings": ["erika", "Erika Mustermann-Łęcka", "a", "", "\\\\files\\erika", "H:", "DC1", "AD"],
}

# Of odd and even lengths, as above.
TRANSITED = ["HTTP/front.localhost@AD.EXAMPLE.COM", "cifs/böx@AD.EXAMPLE.COM"]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="pac-vectors-") as scratch:
        folder = Path(scratch)
        with ActiveDirectory.start(folder / "directory") as directory:
            vectors = {
                user: directory.logon_info(directory.client_token(directory.kinit(user, folder / user)))
                for user in ("one", "threehundred", "nested")
            }
            vectors["impersonated"] = directory.logon_info(directory.impersonated_token("nested", folder / "service"))
    (vectors["foreign"],) = samba_writes(FOREIGN)
    (delegated,) = samba_writes_delegations(TRANSITED)
    (HERE / "delegated.ndr").write_bytes(delegated)
    (HERE / "delegated.json").write_text(json.dumps(TRANSITED, indent=1) + "\n")
    for (name, logon_info), reading in zip(vectors.items(), samba_reads(*vectors.values()), strict=True):
        (HERE / f"{name}.ndr").write_bytes(logon_info)
        (HERE / f"{name}.json").write_text(json.dumps(expected(reading), indent=1) + "\n")


def expected(reading: dict[str, Any]) -> dict[str, Any]:
    """What the product makes of what Samba read: only memberships that are enabled, and not for denying, count."""
    domain, resource_domain = reading["domain_sid"], reading["resource_domain_sid"]
    listed = [
        [f"{domain}-{reading['primary_rid']}", NORMAL],
        *([f"{domain}-{rid}", attributes] for rid, attributes in reading["rids"]),
        *reading["sids"],
        *([f"{resource_domain}-{rid}", attributes] for rid, attributes in reading["resource_rids"]),
    ]
    groups = {sid for sid, attributes in listed if attributes & 0x4 and not attributes & 0x10}
    account = reading["strings"][0]
    return {
        "account": account,
        "domain_sid": domain,
        "user_sid": f"{domain}-{reading['user_rid']}",
        "groups": sorted(groups),
    }


if __name__ == "__main__":
    main()
