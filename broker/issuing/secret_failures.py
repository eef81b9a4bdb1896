"""What a vault says becomes one of the house's errors: its own words go to the record and the log, never into an answer.

The integrated vault's words about what it was given (``Unfit``) are the exception: they name the fault and its fix, and nothing
that the client did not write.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from broker.core.errors import (
    BadRequest,
    BrokerError,
    SecretNotFound,
    SecretsRejected,
    SecretsUnavailable,
    VersionConflict,
)
from broker.remote.failure import Conflict, Missing, RemoteFailure, Unreachable
from broker.secrets.unfit import Archived, Expired, Unfit

# What the reader of an answer can do, by a vault's reason; where there is none, the error's own hint.
_HINTS = {
    "deleted": "this version was deleted: zerotrust-admin secrets undelete",
    "destroyed": "this version was destroyed, and does not come back",
    "expired": "this secret has expired: ask its contact for a new one",
    "archived": "this secret is archived: zerotrust-admin secrets unarchive",
    "cas_unsupported": "the vault behind this broker cannot check and set: leave cas out",
}


@contextmanager
def failures() -> Iterator[None]:
    """Around whatever asks a vault."""
    try:
        yield
    except RemoteFailure as failure:
        raise _meant(failure) from failure


def unsupported(what: str) -> SecretsRejected:
    """The vault behind the broker is another's, and has no such thing that the broker could reach."""
    return SecretsRejected(
        reason="secret_unsupported", hint=f"the vault behind this broker does not give it {what}: use its own tools"
    )


def _meant(failure: RemoteFailure) -> BrokerError:
    said, reason, hint = str(failure), f"secret_{failure.reason.removeprefix('secret_')}", _HINTS.get(failure.reason)
    match failure:
        case Missing() | Expired() | Archived():
            return SecretNotFound(said, reason=reason, hint=hint)
        case Unfit():
            return BadRequest(said, reason=reason, hint=said.replace(" — fix: ", ": "))
        case Conflict():
            return VersionConflict(said, reason=reason)
        case Unreachable():
            return SecretsUnavailable(said, reason=reason)
        case _:
            return SecretsRejected(said, reason=reason, hint=hint)
