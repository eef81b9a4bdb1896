"""How asking a remote vault or key service can fail, as few kinds as the callers tell apart.

The message is a whole sentence for the operator's log, without any secret, token or value; ``reason`` is a snake_case word for
the record.
"""

from __future__ import annotations

# The reason of a refusal that a dead token gets as well as one that may not.
DENIED = "denied"


class RemoteFailure(Exception):
    """The root. Libraries' own exceptions end in these."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Unreachable(RemoteFailure):
    """No answer, too late, sealed, throttled or broken: asking later may help."""


class Refused(RemoteFailure):
    """We may not: the login or the permission is wrong. Asking again brings the same answer."""


class Missing(RemoteFailure):
    """It is not there, or this version of it is not."""


class Conflict(RemoteFailure):
    """Somebody changed it meanwhile: the check of check-and-set."""


class Malformed(RemoteFailure):
    """The answer is not one that this system gives: nothing of it is used."""
