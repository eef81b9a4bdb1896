"""What an AWS access key id says by itself.

The prefix is AWS's word (IAM User Guide, "IAM identifiers"): ``ASIA`` a session's, ``AKIA`` a user's. The account behind it is
not documented; it was found out by many, and ``aws sts get-access-key-info`` says the same with AWS's authority.
"""

from __future__ import annotations

import base64
import re

ACCESS_KEY_ID = re.compile(r"(?:ASIA|AKIA)[A-Z0-9]{12,124}")
_OF_A_SESSION = "ASIA"
_PREFIX = 4
# 16 characters of base32 behind the prefix: a bit that is set since keys name accounts, and the account in the next 40.
_BODY = re.compile(r"[A-Z2-7]{16}")
_ACCOUNT_BYTES, _ACCOUNT_SHIFT, _ACCOUNT_BITS = 6, 7, 40
_NAMES_AN_ACCOUNT = 1 << 47
_ACCOUNT_MAX = 10**12


def is_of_a_session(access_key_id: str) -> bool:
    """Whether STS made it: nothing else is ever handed out."""
    return access_key_id.startswith(_OF_A_SESSION)


def account_of(access_key_id: str) -> str | None:
    """The account number in it; None where it has none (made before about 2019, or by nobody)."""
    body = access_key_id[_PREFIX:]
    if not ACCESS_KEY_ID.fullmatch(access_key_id) or not _BODY.fullmatch(body):
        return None
    number = int.from_bytes(base64.b32decode(body)[:_ACCOUNT_BYTES], "big")
    account = number >> _ACCOUNT_SHIFT & (1 << _ACCOUNT_BITS) - 1
    return f"{account:012}" if number & _NAMES_AN_ACCOUNT and account < _ACCOUNT_MAX else None
