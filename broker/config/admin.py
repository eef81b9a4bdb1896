"""The section `admin`: who operates the broker, and what their requests must be like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from broker.config.elevation import Require
from broker.config.fault import fault
from broker.config.people import RulePrincipal
from broker.config.section import Section
from broker.config.values import AsText, Switch, parse_socket_path
from broker.core.pattern import PrincipalPattern


def _not_everybody(text: str) -> str:
    pattern = PrincipalPattern.parse(text)
    if not pattern.is_literal and len(pattern.components) == 1:
        raise fault("would make everybody of the realm an operator", "name each one, or write */admin@R", shown=text)
    return text


def _literal(text: str) -> str:
    if not PrincipalPattern.parse(text).is_literal:
        raise fault("is a pattern, and a key has one owner", "name the principal", shown=text)
    return text


class SigningKey(Section):
    """A key that somebody signs requests with (RFC 9421)."""

    principal: Annotated[RulePrincipal, AfterValidator(_literal)] = Field(
        description="Whose requests it signs; on anybody else's ticket it does not count."
    )
    public_key: Annotated[str, AsText(str)] = Field(
        description="An Ed25519 or P-256 public key in PEM: `openssl pkey -in KEY -pubout`."
    )


def _keys_of_operators(keys: tuple[SigningKey, ...], info: ValidationInfo) -> tuple[SigningKey, ...]:
    operators = [PrincipalPattern.parse(text) for text in info.data.get("principals", ())]
    for key in keys:
        owner = PrincipalPattern.parse(key.principal)
        if operators and not any(operator.names(owner) for operator in operators):
            raise fault(f"holds a key of {key.principal}, who is no operator", "add them to admin.principals")
    if not keys and info.data.get("require_signed_requests"):
        fix = "add signing_keys, or set require_signed_requests: false"
        raise fault("holds no key, so that nobody could sign a request", fix)
    return keys


class Admin(Section):
    """Who operates the broker by `zerotrust-admin`. Without this section: nobody."""

    principals: tuple[Annotated[RulePrincipal, AfterValidator(_not_everybody)], ...] = Field(
        min_length=1,
        description="The operators, as `klist` prints them. A `*` stands for one of two or more components: "
        "`*/admin@EXAMPLE.COM`.",
    )
    socket: Annotated[Path, AsText(parse_socket_path)] | None = Field(
        default=None,
        description="A local socket for operators, mode 0660: root and the broker's group may connect. They need their ticket "
        "there too. Without it: only by the addresses of `server.listen`, where operators may come in any case.",
    )
    require: Require = Field(default=Require(), description="What an operator's ticket must be like.")
    require_signed_requests: Switch = Field(
        default=False,
        description="Operators' requests must be signed with a key below (RFC 9421). Otherwise only what is signed is checked.",
    )
    signing_keys: Annotated[tuple[SigningKey, ...], AfterValidator(_keys_of_operators)] = Field(
        default=(), validate_default=True, description="The operators' keys; an operator may have several."
    )
