"""One client of botocore for many signers: it signs with what the current call says, and takes nothing from the SDK's own files.

botocore by itself, without boto3: what that adds, transfers to S3 and objects for resources, is nothing that we ask for.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from botocore import session as botocore_session
from botocore.credentials import Credentials as BotoCredentials
from botocore.credentials import ReadOnlyCredentials
from botocore.loaders import JSONFileLoader, Loader

from broker.remote import quiet

# What the SDK would take from its files and variables, and what it gets: a profile or a file that is not there is no reason
# not to start, and "legacy" would send all regions' calls to one endpoint. What we ask of AWS is in our own configuration.
_NOT_OURS = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
    "sts_regional_endpoints": (None, None, "regional", None),
}

# All that we ask of AWS. botocore keeps where each of its 400 services is, in every region: 7 MB of objects.
_SERVICES = frozenset({"iam", "kms", "secretsmanager", "sts"})

_signing: ContextVar[ReadOnlyCredentials] = ContextVar("_signing")


class _CredentialsOfTheCall(BotoCredentials):  # type: ignore[misc]  # botocore has no types
    """What a shared client signs with: whatever the current call says."""

    def __init__(self) -> None:
        super().__init__("unset", "unset")

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return _signing.get()


class _OfOurServices(JSONFileLoader):  # type: ignore[misc]  # botocore has no types
    """Reads botocore's data, and keeps of its list of endpoints what is ours."""

    def load_file(self, file_path: str) -> Any:
        plain = Path(f"{file_path}.json")
        if plain.name != "endpoints.json" or not plain.exists():
            return super().load_file(file_path)
        return json.loads(plain.read_bytes(), object_hook=_ours)


def _ours(members: dict[str, Any]) -> dict[str, Any]:
    """An object of the list; a partition of AWS without the services of others."""
    if "services" in members:
        members["services"] = {name: where for name, where in members["services"].items() if name in _SERVICES}
    return members


def shared_session() -> botocore_session.Session:
    """Clients of it, for our services alone, are to be used inside ``signed_by`` only."""
    quiet.pin()
    session = botocore_session.Session(session_vars=_NOT_OURS)
    session.register_component("data_loader", Loader(file_loader=_OfOurServices(), include_default_search_paths=True))
    session._credentials = _CredentialsOfTheCall()  # noqa: SLF001  # botocore has no public way to pass an object
    return session


@contextlib.contextmanager
def signed_by(credentials: ReadOnlyCredentials) -> Iterator[None]:
    """What this thread asks AWS inside is signed with these."""
    token = _signing.set(credentials)
    try:
        yield
    finally:
        _signing.reset(token)
