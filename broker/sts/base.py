"""The broker's own AWS credentials, with which the first hop of every chain is signed: given, from a file, or found by the SDK.

Nobody waits for credentials that are still good: the SDK's are renewed ahead of their end, by one thread, while the old ones go
on signing. Nothing that could block the event loop is called in it.
"""

from __future__ import annotations

import asyncio
import configparser
import contextlib
import logging
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from botocore import exceptions
from botocore.credentials import ReadOnlyCredentials
from botocore.session import Session

from broker.core.errors import ConfigurationError, StsUnavailable
from broker.core.happening import Happening
from broker.core.private_file import PermissionProblem, read_private
from broker.core.workers import Workers
from broker.remote import quiet
from broker.sts.refusals import NO_BASE
from broker.sts.web_identity import TokenIssuer

# botocore gives the instance's service one second for the token and one for each of two answers; a chain has 4.5.
_PATIENCE = timedelta(seconds=2)
# With less left than this there may not be enough for the calls of a chain: then its caller waits for the new ones.
_TOO_LATE = timedelta(seconds=30)

_FILE_MAX_BYTES = 64 * 1024
_ACCESS_KEY_ID = re.compile(r"\w{16,128}")
_ONE_WORD = re.compile(r"[\x21-\x7e]+")

# How a look ends in vain: the SDK's own errors, a refusal of AWS (`role_arn` of a profile), a program (`credential_process`)
# that is not there, and one that answers with something else than credentials.
_NOT_FOUND = (
    exceptions.BotoCoreError,
    exceptions.ClientError,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
)

_log = logging.getLogger(__name__)


# What the first call of a chain is made with: a signature, or a token about whoever asks.
Signing: TypeAlias = ReadOnlyCredentials | TokenIssuer


class BaseCredentials(Protocol):
    """Where the broker's own credentials come from."""

    async def current(self) -> Signing:
        """What to sign with now.

        Raises:
            StsUnavailable: There are none.
        """

    async def renew(self) -> None:
        """AWS says that they have ended: get new ones, or keep the old where there are no others. Never raises."""


class GivenCredentials:
    """As the configuration gave them: there are no others until the next start."""

    def __init__(self, *, access_key_id: str, secret_key: str, session_token: str | None) -> None:
        self._given = ReadOnlyCredentials(access_key_id, secret_key, session_token)

    async def current(self) -> ReadOnlyCredentials:
        """See ``BaseCredentials``."""
        return self._given

    async def renew(self) -> None:
        """See ``BaseCredentials``."""


class WebIdentity:
    """None: AWS believes tokens of the broker's own, of which each call gets a new one."""

    def __init__(self, issuer: TokenIssuer) -> None:
        self.issuer = issuer

    async def current(self) -> TokenIssuer:
        """See ``BaseCredentials``."""
        return self.issuer

    async def renew(self) -> None:
        """See ``BaseCredentials``."""


class FileCredentials:
    """A section of a private file in the AWS SDKs' shared-credentials form. What cannot be used leaves the last good ones."""

    def __init__(self, path: Path, *, profile: str) -> None:
        """Read the file.

        Raises:
            ConfigurationError: It cannot be used.
        """
        self._path = path
        self._profile = profile
        self._read = _from_file(path, profile)

    async def current(self) -> ReadOnlyCredentials:
        """See ``BaseCredentials``."""
        return self._read

    async def renew(self) -> None:
        """See ``BaseCredentials``. The watch over files says what is wrong with this one."""
        try:
            self.reload()
        except ConfigurationError:
            _log.warning("aws.credentials_file cannot be used; signing with what it held before")

    def reload(self) -> bool:
        """Take over what the file holds now; whether that is something else.

        Raises:
            ConfigurationError: It cannot be used, and nothing was taken over.
        """
        read = _from_file(self._path, self._profile)
        changed = bool(read != self._read)
        self._read = read
        return changed


class SdkCredentials:
    """As botocore finds them: a profile of the shared files, or its own search (container, instance), and renews them."""

    def __init__(self, *, profile: str | None) -> None:
        """``profile``: None for the SDK's own search. Nothing is looked for yet."""
        quiet.pin()
        self._profile = profile
        # One thread: so many clients may wait, the instance's service is asked once.
        self._thread = Workers(name="base-credentials", number=1)
        self._source: Any = None
        self._found: ReadOnlyCredentials | None = None
        # Why the last look was in vain.
        self._failure: str | None = None
        self._looking: asyncio.Future[ReadOnlyCredentials] | None = None

    async def current(self) -> ReadOnlyCredentials:
        """See ``BaseCredentials``."""
        found = self._found
        if found is None or self._ends_within(_TOO_LATE):
            return await self._looked_for()
        if self._ends_within(None):
            self._look()
        return found

    async def renew(self) -> None:
        """See ``BaseCredentials``."""
        if self._looking is None:
            # botocore would not look again while it believes them good.
            self._source = None
        with contextlib.suppress(StsUnavailable):
            await self._looked_for()

    async def _looked_for(self) -> ReadOnlyCredentials:
        try:
            async with asyncio.timeout(_PATIENCE.total_seconds()):
                return await asyncio.shield(self._look())
        except TimeoutError as error:
            self._say("no answer in time")
            raise StsUnavailable("the broker's own credentials are not found in time", reason=NO_BASE) from error
        except _NOT_FOUND as error:
            raise StsUnavailable(f"no base credentials: {_kind(error)}", reason=NO_BASE) from error

    def _look(self) -> asyncio.Future[ReadOnlyCredentials]:
        """The look that is under way, or a new one."""
        if self._looking is None:
            self._looking = self._thread.do(self._find)
            self._looking.add_done_callback(self._looked)
        return self._looking

    def _looked(self, looking: asyncio.Future[ReadOnlyCredentials]) -> None:
        self._looking = None
        if looking.cancelled():
            return
        error = looking.exception()
        if error is None:
            self._found, self._failure = looking.result(), None
        else:
            self._say(_kind(error))

    def _say(self, failure: str) -> None:
        """In the log, once for each kind of failure: every request may cause a look."""
        if failure != self._failure:
            self._failure = failure
            _log.warning(
                "the broker's own credentials were not found or renewed: %s",
                failure,
                extra=Happening.BASE_CREDENTIALS_FAIL.said(),
            )

    def _find(self) -> ReadOnlyCredentials:
        if self._source is None:
            self._source = Session(profile=self._profile).get_credentials()
        if self._source is None:
            raise StsUnavailable("botocore finds no credentials for the broker itself", reason=NO_BASE)
        return self._source.get_frozen_credentials()

    def _ends_within(self, time: timedelta | None) -> bool:
        """Whether they end so soon, or, without a time, so soon that botocore would renew them (15 minutes)."""
        needed = getattr(self._source, "refresh_needed", None)
        return needed is not None and bool(needed(None if time is None else time.total_seconds()))


def _kind(error: BaseException) -> str:
    """What the log may say of a failed look: the text of some of botocore's errors quotes what it read."""
    if isinstance(error, StsUnavailable):
        return str(error)
    if isinstance(error, exceptions.ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return type(error).__name__


def _from_file(path: Path, profile: str) -> ReadOnlyCredentials:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(read_private(path, limit=_FILE_MAX_BYTES).decode())
    except PermissionProblem as problem:
        raise _unusable(f"the file {problem.what}", problem.fix) from problem
    except (configparser.Error, UnicodeDecodeError):
        # "from None": a parser's error quotes the line, and the line may be the secret.
        raise _unusable(f"{path} is not in the form of AWS's shared credentials", "see docs/aws.md") from None
    if not parser.has_section(profile):
        raise _unusable(f"{path} has no section [{profile}]", "add it, or name another as aws.profile")
    section = parser[profile]
    key_id, secret = section.get("aws_access_key_id", ""), section.get("aws_secret_access_key", "")
    token = section.get("aws_session_token", "")
    if not _ACCESS_KEY_ID.fullmatch(key_id) or not secret:
        fix = "give it aws_access_key_id and aws_secret_access_key"
        raise _unusable(f"{path}: [{profile}] lacks a key id or its secret", fix)
    if not _ONE_WORD.fullmatch(secret + token):
        # What goes on in an indented line is taken as part of the value, and no request could carry it.
        raise _unusable(f"{path}: [{profile}] has a key that is not one word", "write each in a line of its own")
    return ReadOnlyCredentials(key_id, secret, token or None)


def _unusable(what: str, fix: str) -> ConfigurationError:
    return ConfigurationError([f"aws.credentials_file: {what} — fix: {fix}"])
