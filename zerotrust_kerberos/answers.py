"""What the broker answers, read: JSON whose members are taken for what they are, and not for what they should be."""

from __future__ import annotations

import json

from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def object_of(body: bytes) -> dict[str, object]:
    """The JSON object that an answer is.

    Raises:
        Failure: It is none.
    """
    try:
        found = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise Failure("unexpected_answer", "the body is not JSON") from error
    if not isinstance(found, dict):
        raise Failure("unexpected_answer", "the body is not a JSON object")
    return found


def text_of(members: Mapping[str, object], name: str) -> str:
    """A member that is a string; empty where it is none."""
    value = members.get(name)
    return value if isinstance(value, str) else ""


def objects(members: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    """The objects of a member that is a list of them."""
    found = members.get(name)
    return [entry if isinstance(entry, dict) else {} for entry in found] if isinstance(found, list) else []
