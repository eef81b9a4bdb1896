"""The KDC's clock, as it says it in every refusal (RFC 4120, section 5.9.1: ``stime`` of KRB-ERROR)."""

from __future__ import annotations

import calendar
import time
from dataclasses import dataclass

from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from zerotrust_kerberos.doctor.krb5 import Asked, Krb5

_KRB_ERROR = 0x7E  # [APPLICATION 30]
_STIME = 0xA4  # [4]
_LONG_FORM = 0x80

# Nobody's: a KDC that gives tickets without a proof of who asks says its time only when it has to refuse.
_NOBODY = "zerotrust-doctor"


@dataclass(frozen=True)
class Told:
    """What a KDC said: which addresses were asked, and its clock less ours in seconds; None where it said no time."""

    asked: tuple[str, ...]
    ahead: float | None


def told(krb5: Krb5, principal: str, *, now: Callable[[], float]) -> Told:
    """Ask the KDC of a principal's realm.

    Raises:
        Failure: ``kdc_unreachable``: no KDC answered.
    """
    realm = principal.rpartition("@")[2]
    asked = krb5.ask_kdc(principal)
    if not asked.replies:
        raise Failure(
            "kdc_unreachable", asked.error + (f"; asked {', '.join(asked.addresses)}" if asked.addresses else "")
        )
    ahead = _ahead(asked, now())
    if ahead is None:
        ahead = _ahead(krb5.ask_kdc(f"{_NOBODY}@{realm}"), now())
    return Told(asked=tuple(asked.addresses), ahead=ahead)


def _ahead(asked: Asked, now: float) -> float | None:
    said = [found for reply in asked.replies if (found := time_of(reply)) is not None]
    return said[-1] - now if said else None


def time_of(message: bytes) -> int | None:
    """The Unix time that a KRB-ERROR says; None for any other message, and for one that cannot be read."""
    try:
        tag, content, _ = _element(message)
        if tag != _KRB_ERROR:
            return None
        _, rest, _ = _element(content)
        while rest:
            tag, content, rest = _element(rest)
            if tag == _STIME:
                _, text, _ = _element(content)
                return calendar.timegm(time.strptime(text.decode("ascii"), "%Y%m%d%H%M%SZ"))
    except (ValueError, IndexError):
        return None
    return None


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content and what follows of a DER element (X.690)."""
    length, begin = data[1], 2
    if length >= _LONG_FORM:
        begin += length - _LONG_FORM
        length = int.from_bytes(data[2:begin], "big")
    if begin + length > len(data):
        raise ValueError("cut")
    return data[0], data[begin : begin + length], data[begin + length :]
