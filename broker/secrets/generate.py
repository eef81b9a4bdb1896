"""New secrets by policy, from the operating system's randomness, and how much of it is in them.

A text is drawn evenly from all texts that the policy allows: drawn anew where a class is missing, never repaired, because a
character put somewhere afterwards makes some texts likelier than others. So the entropy is the logarithm of their number.
"""

from __future__ import annotations

import itertools
import math
import secrets
import string
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from broker.core.secret import Secret
from broker.secrets.unfit import Unfit

Kind = Literal["text", "hex", "base64", "uuid"]
# Bits. Nobody tries so many, with the hash in hand either.
ENTROPY_MIN = 80
LENGTH_MAX = 4096
# What no shell, URL, YAML or connection string takes for something else.
_SYMBOLS = "-_.~+=:@%^"
_CLASSES = {
    "lower": string.ascii_lowercase,
    "upper": string.ascii_uppercase,
    "digits": string.digits,
    "symbols": _SYMBOLS,
}
LOOK_ALIKES = frozenset("0O1lI5S2Z8B")
_UUID_BITS = 122  # RFC 9562, section 5.4


@dataclass(frozen=True, slots=True)
class Policy:
    """How a new secret looks.

    ``kind``: ``text`` of ``length`` characters, ``hex`` or ``base64`` (the URL's alphabet, no padding) of ``length`` random
    bytes, or a random ``uuid``. The rest is for texts: each of ``classes`` occurs, ``alphabet`` stands in their place,
    ``readable`` leaves out what looks like something else.
    """

    kind: Kind = "text"
    length: int = 32
    classes: tuple[str, ...] = ("lower", "upper", "digits")
    alphabet: str = ""
    readable: bool = False

    @property
    def entropy(self) -> float:
        """Bits. Raises Unfit for a policy that cannot be obeyed."""
        if not 1 <= self.length <= LENGTH_MAX:
            raise _unfit("the length is out of range", f"1 to {LENGTH_MAX}")
        if self.kind == "uuid":
            return _UUID_BITS
        if self.kind != "text":
            return 8.0 * self.length
        allowed = _allowed(self._sets(), self.length)
        return math.log2(allowed) if allowed else 0.0

    def _sets(self) -> Sequence[str]:
        """The characters of each class that has to occur."""
        if self.alphabet:
            sets = [self.alphabet]
        elif unknown := [name for name in self.classes if name not in _CLASSES]:
            raise _unfit(f"there is no class {unknown[0]}", f"some of {', '.join(_CLASSES)}")
        else:
            sets = [_CLASSES[name] for name in dict.fromkeys(self.classes)]
        left_out = LOOK_ALIKES if self.readable else frozenset()
        sets = ["".join(dict.fromkeys(one for one in each if one not in left_out)) for each in sets]
        if not sets or not all(sets):
            raise _unfit("no characters are left", "more classes, or another alphabet")
        if not all(one.isprintable() and one.isascii() for each in sets for one in each):
            raise _unfit("the alphabet has characters that not every system takes", "printable ASCII")
        return sets


def generate(policy: Policy) -> Secret:
    """A new one.

    Raises:
        Unfit: The policy cannot be obeyed, or leaves fewer than ``ENTROPY_MIN`` bits.
    """
    if policy.entropy < ENTROPY_MIN:
        raise _unfit(
            f"the policy leaves {policy.entropy:.0f} bits to chance, of at least {ENTROPY_MIN}",
            "a greater length, or more characters",
        )
    match policy.kind:
        case "hex":
            return Secret(secrets.token_hex(policy.length))
        case "base64":
            return Secret(secrets.token_urlsafe(policy.length))
        case "uuid":
            return Secret(str(uuid.UUID(bytes=secrets.token_bytes(16), version=4)))
        case "text":
            return Secret(_drawn(policy._sets(), policy.length))  # noqa: SLF001  # of this module


def _drawn(sets: Sequence[str], length: int) -> str:
    """Ends soon: policies by which most texts lack a class are so short that they are refused before."""
    alphabet = "".join(sets)
    while True:
        text = "".join(secrets.choice(alphabet) for _ in range(length))
        if all(not set(each).isdisjoint(text) for each in sets):
            return text


def _allowed(sets: Sequence[str], length: int) -> int:
    """How many texts have something of each set: all, less those that lack one, and so on (inclusion and exclusion)."""
    sizes = [len(each) for each in sets]
    total = sum(sizes)
    return sum(
        (-1) ** count * (total - sum(missing)) ** length
        for count in range(len(sizes) + 1)
        for missing in itertools.combinations(sizes, count)
    )


def _unfit(fault: str, fix: str) -> Unfit:
    return Unfit(f"{fault} — fix: give {fix}", reason="unfit_policy")
