"""One client of boto3 for many signers: it signs with what the current call says, and takes nothing from the SDK's own files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar

import boto3
from botocore import session as botocore_session
from botocore.credentials import Credentials as BotoCredentials
from botocore.credentials import ReadOnlyCredentials

from broker.remote import quiet

# What the SDK would take from its files and variables, and what it gets: a profile or a file that is not there is no reason
# not to start, and "legacy" would send all regions' calls to one endpoint. What we ask of AWS is in our own configuration.
_NOT_OURS = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
    "sts_regional_endpoints": (None, None, "regional", None),
}

_signing: ContextVar[ReadOnlyCredentials] = ContextVar("_signing")


class _CredentialsOfTheCall(BotoCredentials):  # type: ignore[misc]  # botocore has no types
    """What a shared client signs with: whatever the current call says."""

    def __init__(self) -> None:
        super().__init__("unset", "unset")

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return _signing.get()


def shared_session() -> boto3.Session:
    """Clients of it are to be used inside ``signed_by`` only."""
    quiet.pin()
    underneath = botocore_session.Session(session_vars=_NOT_OURS)
    underneath._credentials = _CredentialsOfTheCall()  # noqa: SLF001  # botocore has no public way to pass an object
    return boto3.Session(botocore_session=underneath)


@contextlib.contextmanager
def signed_by(credentials: ReadOnlyCredentials) -> Iterator[None]:
    """What this thread asks AWS inside is signed with these."""
    token = _signing.set(credentials)
    try:
        yield
    finally:
        _signing.reset(token)
