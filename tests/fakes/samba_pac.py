"""Reads and writes the logon information of PACs with Samba's NDR bindings: JSON in, JSON out.

Run by the system's Python, as `active_directory_setup.py` is: `samba_pac.py read` turns a list of base64 into a list of
descriptions, `samba_pac.py write` the other way round; `samba_pac.py delegation` makes delegation information of services.
`active_directory.samba_reads`, `samba_writes` and `samba_writes_delegations` run it, and say what a description is.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
from typing import Any

from samba.dcerpc import krb5pac, lsa, netlogon, samr, security
from samba.ndr import ndr_pack, ndr_unpack

# MS-PAC section 2.3: count of buffers, version; type, size and offset of the only one.
PAC_HEAD = struct.Struct("<IIIIQ")


def read(logon_info: bytes) -> dict[str, Any]:
    head = PAC_HEAD.pack(1, 0, krb5pac.PAC_TYPE_LOGON_INFO, len(logon_info), PAC_HEAD.size)
    logon = ndr_unpack(krb5pac.PAC_DATA, head + logon_info).buffers[0].info.info
    base, resource = logon.info3.base, logon.resource_groups
    return {
        "domain_sid": str(base.domain_sid),
        "user_rid": base.rid,
        "primary_rid": base.primary_gid,
        "rids": [[group.rid, group.attributes] for group in base.groups.rids or ()],
        "sids": [[str(entry.sid), entry.attributes] for entry in logon.info3.sids or ()],
        "resource_domain_sid": str(resource.domain_sid) if resource.domain_sid else None,
        "resource_rids": [[group.rid, group.attributes] for group in resource.groups.rids or ()],
        "strings": [str(getattr(base, name).string or "") for name in STRINGS],
    }


STRINGS = (
    *("account_name", "full_name", "logon_script", "profile_path", "home_directory", "home_drive"),
    *("logon_server", "logon_domain"),
)


def write(description: dict[str, Any]) -> bytes:
    logon = krb5pac.PAC_LOGON_INFO()
    base, resource = logon.info3.base, logon.resource_groups
    base.domain_sid = security.dom_sid(description["domain_sid"])
    base.rid, base.primary_gid = description["user_rid"], description["primary_rid"]
    base.groups.rids = [membership(*pair) for pair in description["rids"]]
    base.groups.count = len(description["rids"])
    for name, text in zip(STRINGS, description["strings"], strict=True):
        getattr(base, name).string = text or None
    if description["sids"]:
        base.user_flags |= netlogon.NETLOGON_EXTRA_SIDS
        logon.info3.sids = [extra(*pair) for pair in description["sids"]]
        logon.info3.sidcount = len(description["sids"])
    if description["resource_domain_sid"]:
        base.user_flags |= netlogon.NETLOGON_RESOURCE_GROUPS
        resource.domain_sid = security.dom_sid(description["resource_domain_sid"])
        resource.groups.rids = [membership(*pair) for pair in description["resource_rids"]]
        resource.groups.count = len(description["resource_rids"])
    holder = krb5pac.PAC_LOGON_INFO_CTR()
    holder.info = logon
    return packed(krb5pac.PAC_TYPE_LOGON_INFO, holder)


def delegation(services: list[str]) -> bytes:
    holder = krb5pac.PAC_CONSTRAINED_DELEGATION_CTR()
    holder.info = made = krb5pac.PAC_CONSTRAINED_DELEGATION()
    made.proxy_target = text("HTTP/localhost")
    made.num_transited_services = len(services)
    made.transited_services = [text(service) for service in services]
    return packed(krb5pac.PAC_TYPE_CONSTRAINED_DELEGATION, holder)


def text(value: str) -> lsa.String:
    made = lsa.String()
    made.string = value
    return made


def packed(kind: int, holder: object) -> bytes:
    """One buffer of a PAC, alone."""
    buffer = krb5pac.PAC_BUFFER()
    buffer.type, buffer.info = kind, holder
    pac = krb5pac.PAC_DATA()
    pac.num_buffers, pac.version, pac.buffers = 1, 0, [buffer]
    whole = ndr_pack(pac)
    *_, size, offset = PAC_HEAD.unpack_from(whole)
    return whole[offset : offset + size]


def membership(rid: int, attributes: int) -> samr.RidWithAttribute:
    made = samr.RidWithAttribute()
    made.rid, made.attributes = rid, attributes
    return made


def extra(sid: str, attributes: int) -> netlogon.netr_SidAttr:
    made = netlogon.netr_SidAttr()
    made.sid, made.attributes = security.dom_sid(sid), attributes
    return made


def main() -> None:
    wishes = json.load(sys.stdin)
    writers = {"write": write, "delegation": delegation}
    if sys.argv[1] in writers:
        json.dump([base64.b64encode(writers[sys.argv[1]](wish)).decode() for wish in wishes], sys.stdout)
    else:
        json.dump([read(base64.b64decode(wish)) for wish in wishes], sys.stdout)


if __name__ == "__main__":
    main()
