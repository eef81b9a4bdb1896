"""The one token of the process, and what is said of it before anybody asks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakValueDictionary

from broker.config.hsm import Hsm, TokenPlace
from broker.keys.pkcs11 import HsmKey, HsmNotInstalled, Token

# Where Client SDK 5 keeps what configure-pkcs11 writes, seen from its folder /opt/cloudhsm; and that program.
_CLOUDHSM_CONFIGURATION = Path("etc", "cloudhsm-pkcs11.cfg")
_CLOUDHSM_PROGRAM = Path("bin", "configure-pkcs11")


# What is in use: a process may have no second session, and tries a PIN that is wrong once.
_TOKENS: WeakValueDictionary[TokenPlace, Token] = WeakValueDictionary()


def token_of(section: Hsm) -> Token | None:
    """The token, where one is enabled; the same for all who use it at a time. Nothing is asked of it yet.

    Raises:
        HsmNotInstalled: It can never be spoken to.
    """
    place = section.place()
    if place is None:
        return None
    token = _TOKENS.get(place)
    if token is None or not token.is_opened_with(place.pin):
        token = Token(module=place.module, label=place.label, pin=place.pin, makes_nonces=place.is_cloudhsm)
        _TOKENS[place] = token
    return token


def signing_key_of(section: Hsm) -> HsmKey | None:
    """The key in the token that signs checkpoints."""
    token = token_of(section)
    if token is None or section.config is None:
        return None
    return HsmKey(token=token, label=section.config.key_label)


def oidc_key_of(section: Hsm) -> HsmKey | None:
    """The key in the token that signs web-identity tokens, where one is named."""
    token = token_of(section)
    if token is None or section.config is None or section.config.oidc_key_label is None:
        return None
    return HsmKey(token=token, label=section.config.oidc_key_label)


def hsm_problems(section: Hsm) -> list[str]:
    """What is wrong about the HSM beyond its form, as far as it shows without a login."""
    place = section.place()
    if place is None:
        return []
    problems = []
    if not place.module.is_file():
        what = f"{place.module} does not exist"
        fix = "install the package cloudhsm-pkcs11 of Client SDK 5" if place.is_cloudhsm else "install the module"
        problems.append(f"encryption.hsm.config.module: {what} — fix: {fix}, or correct the path")
    elif place.is_cloudhsm:
        problems += _cloudhsm_problems(section, place.module.parent.parent)
    try:
        token_of(section)
    except HsmNotInstalled as error:
        fix = "pip install 'zerotrust-kerberos-link[hsm]', or set encryption.hsm.enabled: false"
        problems.append(f"encryption.hsm: {error} — fix: {fix}")
    return problems


def _cloudhsm_problems(section: Hsm, folder: Path) -> Iterator[str]:
    """The SDK goes where its own file says, whatever ours says: a difference is a slip that would go unnoticed."""
    config = section.config
    if config is None:
        return
    file, command = folder / _CLOUDHSM_CONFIGURATION, f"sudo {folder / _CLOUDHSM_PROGRAM} -a {config.hsm_ip}"
    try:
        clusters = list(_clusters(file.read_text()))
    except (OSError, ValueError, TypeError, KeyError):
        yield f"encryption.hsm: the SDK is not configured ({file} names no HSM) — fix: {command}"
        return
    ours = [known for known in clusters if config.hsm_ip in known[1]]
    if not ours:
        yield f"encryption.hsm.config.hsm_ip: {file} does not name {config.hsm_ip} — fix: {command}"
    elif all(named not in (None, config.cluster_id) for named, _ in ours):
        yield (
            f"encryption.hsm.config.cluster_id: {file} has {config.hsm_ip} in {ours[0][0]}, not in {config.cluster_id} "
            "— fix: correct cluster_id or hsm_ip"
        )
    if len(clusters) > 1 and config.token_label is None:
        what = f"is missing, and {file} names {len(clusters)} clusters"
        yield f"encryption.hsm.config.token_label: {what} — fix: name the token of yours"


def _clusters(text: str) -> Iterator[tuple[str | None, set[str]]]:
    """The id, where it is there, and the HSMs' addresses of each cluster that the SDK knows."""
    for entry in json.loads(text)["clusters"]:
        cluster = entry["cluster"]
        yield cluster.get("cluster_id"), {server["hostname"] for server in cluster["servers"]}
