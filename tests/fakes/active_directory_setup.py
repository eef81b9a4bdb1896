"""Makes the database of a throw-away Active Directory: domain, users, groups, a service and its keytab, in one go.

`tests/fakes/active_directory.py` runs it with the system's Python, for which Debian builds Samba's bindings. It reads its wishes
as JSON from stdin and answers, on stdout, with the SID of everything it made.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any

import ldb
import samba.dckeytab  # noqa: F401 - its import gives Net the method export_keytab
from samba import dsdb, param, provision
from samba.auth import system_session
from samba.dcerpc import drsblobs, lsa, security
from samba.ndr import ndr_pack, ndr_unpack
from samba.net import Net

if TYPE_CHECKING:
    from samba.samdb import SamDB

GROUP_TYPES = {
    "global": dsdb.GTYPE_SECURITY_GLOBAL_GROUP,
    "universal": dsdb.GTYPE_SECURITY_UNIVERSAL_GROUP,
    "resource": dsdb.GTYPE_SECURITY_DOMAIN_LOCAL_GROUP,
}
AES_ONLY = 0x8 | 0x10  # msDS-SupportedEncryptionTypes: AES128 and AES256 (MS-KILE section 2.2.7)


def make_domain(wish: dict[str, Any], settings: param.LoadParm) -> SamDB:
    """What `samba-tool domain provision --dns-backend=NONE` does, without the file permissions of a file server.

    Those would need a further package and decide nothing for a KDC.
    """
    made = provision.provision(
        logging.getLogger("provision"),
        system_session(),
        smbconf=wish["smb_conf"],
        lp=settings,
        realm=wish["realm"],
        domain=wish["domain"],
        domainsid=security.dom_sid(wish["domain_sid"]),
        hostname="dc1",
        hostip="127.0.0.1",
        adminpass=wish["administrator_password"],
        dom_for_fun_level=dsdb.DS_DOMAIN_FUNCTION_2008_R2,
        serverrole="active directory domain controller",
        dns_backend="NONE",
        skip_sysvolacl=True,
    )
    return made.samdb


def add_user(samdb: SamDB, name: str, user: dict[str, Any]) -> None:
    kind = dsdb.UF_WORKSTATION_TRUST_ACCOUNT if user["machine"] else dsdb.UF_NORMAL_ACCOUNT
    disabled = dsdb.UF_ACCOUNTDISABLE if user["disabled"] else 0
    delegates = dsdb.UF_TRUSTED_TO_AUTHENTICATE_FOR_DELEGATION if user["delegates_to"] else 0
    principal = f"{[*user['services'], name][0]}@{samdb.domain_dns_name()}"
    samdb.add(
        {
            "dn": f"CN={name},CN=Users,{samdb.domain_dn()}",
            "objectClass": "computer" if user["machine"] else "user",
            "sAMAccountName": f"{name}$" if user["machine"] else name,
            "unicodePwd": f'"{user["password"]}"'.encode("utf-16-le"),
            "userAccountControl": str(kind | disabled | delegates),
            "msDS-SupportedEncryptionTypes": str(AES_ONLY),
            **({} if user["machine"] else {"userPrincipalName": principal}),
            **({"servicePrincipalName": user["services"]} if user["services"] else {}),
            **({"msDS-AllowedToDelegateTo": user["delegates_to"]} if user["delegates_to"] else {}),
        }
    )


def add_group(samdb: SamDB, name: str, group: dict[str, Any]) -> None:
    """Groups come in an order in which every member exists already."""
    members = [f"CN={member},CN=Users,{samdb.domain_dn()}" for member in group["members"]]
    samdb.add(
        {
            "dn": f"CN={name},CN=Users,{samdb.domain_dn()}",
            "objectClass": "group",
            "sAMAccountName": name,
            "groupType": str(GROUP_TYPES[group["kind"]]),
            **({"member": members} if members else {}),
            **({"objectSid": ndr_pack(security.dom_sid(group["claimed_sid"]))} if group["claimed_sid"] else {}),
        },
        controls=["relax:0"] if group["claimed_sid"] else [],
    )


def add_trust(samdb: SamDB, realm: str, trust: dict[str, Any]) -> None:
    """A trusted realm, as the local security authority stores it (MS-ADTS section 6.1.6.7).

    Of type uplevel, for an MIT realm too: Samba's KDC passes over trusts of type MIT. `samba-tool domain trust` would want to
    speak to a domain controller on the other side.
    """
    secret = trust_secret(trust["password"])
    samdb.add(
        {
            "dn": f"CN={realm.lower()},CN=System,{samdb.domain_dn()}",
            "objectClass": "trustedDomain",
            "trustType": str(lsa.LSA_TRUST_TYPE_UPLEVEL),
            "trustAttributes": "0",
            "trustDirection": str(lsa.LSA_TRUST_DIRECTION_INBOUND | lsa.LSA_TRUST_DIRECTION_OUTBOUND),
            "trustPartner": realm,
            "flatName": trust["domain"],
            "securityIdentifier": ndr_pack(security.dom_sid(trust["domain_sid"])),
            "trustAuthIncoming": secret,
            "trustAuthOutgoing": secret,
            "msDS-SupportedEncryptionTypes": str(AES_ONLY),
        }
    )


def trust_secret(password: str) -> bytes:
    """What both sides make their keys of, as the directory keeps it (MS-ADTS section 6.1.6.9.1)."""
    encoded = list(password.encode("utf-16-le"))
    clear, part = drsblobs.AuthInfoClear(), drsblobs.AuthenticationInformation()
    clear.size, clear.password = len(encoded), encoded
    part.AuthType, part.AuthInfo = lsa.TRUST_AUTH_TYPE_CLEAR, clear
    parts, secret = drsblobs.AuthenticationInformationArray(), drsblobs.trustAuthInOutBlob()
    parts.count, parts.array = 1, [part]
    secret.count, secret.current = 1, parts
    return ndr_pack(secret)


def sids(samdb: SamDB) -> dict[str, str]:
    """Account name to SID, of every user and group of the domain."""
    found = samdb.search(samdb.domain_dn(), expression="(sAMAccountName=*)", attrs=["sAMAccountName", "objectSid"])
    return {str(entry["sAMAccountName"]): str(ndr_unpack(security.dom_sid, entry["objectSid"][0])) for entry in found}


def token_groups(samdb: SamDB, name: str) -> list[str]:
    """The SIDs that the directory itself reckons a user to be in (MS-ADTS section 3.1.1.4.5.19)."""
    dn = f"CN={name},CN=Users,{samdb.domain_dn()}"
    (entry,) = samdb.search(dn, scope=ldb.SCOPE_BASE, attrs=["tokenGroups"])
    return [str(ndr_unpack(security.dom_sid, sid)) for sid in entry["tokenGroups"]]


def main() -> None:
    wish = json.load(sys.stdin)
    settings = param.LoadParm()
    settings.load(wish["smb_conf"])
    samdb = make_domain(wish, settings)
    samdb.transaction_start()
    for name, user in wish["users"].items():
        add_user(samdb, name, user)
    for name, group in wish["groups"].items():
        add_group(samdb, name, group)
    for realm, trust in wish["trusts"].items():
        add_trust(samdb, realm, trust)
    samdb.transaction_commit()
    if any(wish["service"] in user["services"] for user in wish["users"].values()):
        Net(None, settings).export_keytab(keytab=wish["keytab"], principal=wish["service"])
    answer = {"sids": sids(samdb), "token_groups": {name: token_groups(samdb, name) for name in wish["users"]}}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
