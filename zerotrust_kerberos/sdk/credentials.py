"""AWS credentials in a program: sealed in memory while nobody reads them, and wiped at the end of their ``with`` block.

What is read is an ordinary ``str``, because boto3 takes nothing else. Such copies are the program's, and CPython's
(docs/memory.md).
"""

from __future__ import annotations

from broker.locked import AtRest, Wiped
from zerotrust_kerberos import times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self


class Credentials:
    """Temporary credentials of one role; use them in a ``with`` block.

    Attributes:
        access_key_id: ``ASIA...``; no secret.
        expiration: When they end: ``2026-01-31T12:34:56Z``.
        ends: The same in seconds since 1970.
        role_arn: Whose they are.
    """

    __slots__ = ("_secret_access_key", "_session_token", "access_key_id", "ends", "expiration", "role_arn")

    def __init__(self, members: Mapping[str, str]) -> None:
        """``members`` of the broker's answer.

        Raises:
            Failure: ``unexpected_answer``: ``Expiration`` is no such time.
        """
        self.access_key_id = members["AccessKeyId"]
        self.expiration = members["Expiration"]
        self.ends = times.seconds(self.expiration)
        self.role_arn = members["RoleArn"]
        self._secret_access_key = AtRest(members["SecretAccessKey"].encode())
        self._session_token = AtRest(members["SessionToken"].encode())

    @property
    def secret_access_key(self) -> str:
        """The secret key. Raises ``Wiped`` behind the ``with`` block."""
        return self._secret_access_key.open().decode()

    @property
    def session_token(self) -> str:
        """The session token. Raises ``Wiped`` behind the ``with`` block."""
        return self._session_token.open().decode()

    @property
    def account_id(self) -> str:
        """The account of the role: the fifth part of its ARN, or empty."""
        return (self.role_arn.split(":") + [""] * 5)[4]

    def copy(self) -> Credentials:
        """The same, to be wiped without the other. Raises ``Wiped`` behind the ``with`` block."""
        return Credentials(
            {
                "AccessKeyId": self.access_key_id,
                "SecretAccessKey": self.secret_access_key,
                "SessionToken": self.session_token,
                "Expiration": self.expiration,
                "RoleArn": self.role_arn,
            }
        )

    def wipe(self) -> None:
        """Overwrite both; once is enough."""
        self._secret_access_key.wipe()
        self._session_token.wipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    def __del__(self) -> None:
        """Out of scope without a ``with``."""
        if hasattr(self, "_session_token"):
            self.wipe()

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id}, ***, until {self.expiration})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("credentials cannot be pickled")


__all__ = ["Credentials", "Wiped"]
