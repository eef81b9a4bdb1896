"""How people are named in rules: by principal, by a pattern of principals, by a group."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from broker.config.elsewhere import Elsewhere
from broker.config.fault import fault, nearest
from broker.config.values import AsText
from broker.core.pattern import PrincipalPattern, UnsafePattern

# MS-DTYP section 2.4.2.1: up to fifteen sub-authorities.
_SID = r"S-1-[0-9]{1,15}(-[0-9]{1,10}){1,15}"
_REALM = r"[A-Za-z0-9][A-Za-z0-9.-]{0,254}"
# What stands between a realm and a group's name; realms have none, and names of groups that rules can use neither.
_IN_REALM = "\\"
_GROUP_NAME = r"[^\x00-\x1f\x7f\\]{1,256}"


def _principal_pattern(text: str) -> str:
    try:
        PrincipalPattern.parse(text)
    except UnsafePattern as error:
        raise fault(error.what, error.fix, shown=text) from None
    return text


def _group(text: str) -> str:
    realm, separator, name = text.partition(_IN_REALM)
    is_named = re.fullmatch(_REALM, realm) and re.fullmatch(_GROUP_NAME, name)
    if not (is_named if separator else re.fullmatch(_SID, text)):
        fix = r"write S-1-5-21-...-1105, or REALM\NAME for a realm with ldap"
        raise fault("is no group's SID or name", fix, shown=text)
    return text


def _in_directory(text: str, info: ValidationInfo) -> str:
    directories = Elsewhere.seen_by(info).directories
    realm, separator, _ = text.partition(_IN_REALM)
    if separator and directories is not None and realm not in directories:
        fix = f"{nearest(realm, directories)}add ldap to kerberos.realms.{realm}, or write the group's SID"
        raise fault("is of a realm without a directory", fix, shown=text)
    domains = Elsewhere.seen_by(info).domains
    if not separator and not directories and text.rpartition("-")[0] not in domains:
        fix = "set domain_sid of its realm in kerberos.realms, which says whose groups count"
        raise fault("is of a domain that no realm has", fix, shown=text)
    return text


def _in_known_realm(text: str, info: ValidationInfo) -> str:
    realms = Elsewhere.seen_by(info).realms
    realm = PrincipalPattern.parse(text).realm
    if realms is not None and realm not in realms:
        fix = f"{nearest(realm, realms)}add {realm} to kerberos.realms"
        raise fault("is of a realm that is not accepted", fix, shown=text)
    return text


# Somebody as rules may name them.
RulePrincipal = Annotated[str, AsText(_principal_pattern), AfterValidator(_in_known_realm)]

RuleGroup = Annotated[str, AsText(_group), AfterValidator(_in_directory)]
