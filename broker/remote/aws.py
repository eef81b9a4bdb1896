"""AWS's services but STS: one maker of botocore's clients, signed with the broker's own credentials, and KMS.

Nothing is taken from the SDK's own files and variables: which credentials, region and endpoint is our configuration's word.
botocore tries once; whether it is tried again, and for how long, is decided in ``tries.py``. Its errors end here, as kinds of
``RemoteFailure`` whose text is AWS's code and never AWS's words, for those may quote the request.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from botocore import exceptions
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.parsers import ResponseParserError

from broker.core.errors import BrokerError
from broker.core.workers import Workers
from broker.remote.failure import Conflict, Malformed, Missing, Refused, RemoteFailure, Unreachable
from broker.remote.signed import shared_session, signed_by
from broker.remote.tries import CONNECT, LONGEST_TRY, tried

# A call is mostly waiting: so many serve what a broker asks of a vault that stands behind a cache.
_THREADS = 8
# Bytes, by kms:Encrypt with a symmetric key (AWS KMS API Reference, Encrypt).
KMS_PLAIN_MAX = 4096
_SERVER_FAULT = 500

_T = TypeVar("_T")


class AwsKeys(Protocol):
    """Where the broker's own credentials come from: ``broker.sts.base.BaseCredentials``."""

    async def current(self) -> object:
        """What to sign with now; a token's maker is nothing to sign with."""

    async def renew(self) -> None:
        """AWS does not take them: get new ones, where there are others."""


class _BadKeys(RemoteFailure):
    """AWS does not take the credentials, or no longer."""


# By AWS's code: the kind, and the word for records. KMS and Secrets Manager API References, "Errors" of each action, and "Common
# Errors". What is not here is judged by its status.
_ERRORS: dict[str, tuple[type[RemoteFailure], str]] = {
    "AccessDeniedException": (Refused, "access_denied"),
    "AccessDenied": (Refused, "access_denied"),
    "NotAuthorized": (Refused, "access_denied"),
    "ExpiredTokenException": (_BadKeys, "base_credentials_expired"),
    "ExpiredToken": (_BadKeys, "base_credentials_expired"),
    "UnrecognizedClientException": (_BadKeys, "base_credentials_refused"),
    "InvalidClientTokenId": (_BadKeys, "base_credentials_refused"),
    "InvalidSignatureException": (_BadKeys, "base_credentials_refused"),
    "SignatureDoesNotMatch": (_BadKeys, "base_credentials_refused"),
    "IncompleteSignature": (_BadKeys, "base_credentials_refused"),
    "MissingAuthenticationToken": (_BadKeys, "base_credentials_refused"),
    "MissingAuthenticationTokenException": (_BadKeys, "base_credentials_refused"),
    "OptInRequired": (Refused, "access_denied"),
    "Throttling": (Unreachable, "throttled"),
    "ThrottlingException": (Unreachable, "throttled"),
    "ThrottledException": (Unreachable, "throttled"),
    "TooManyRequestsException": (Unreachable, "throttled"),
    "RequestLimitExceeded": (Unreachable, "throttled"),
    "RequestExpired": (Unreachable, "clock_skew"),
    "RequestTimeTooSkewed": (Unreachable, "clock_skew"),
    "ResourceNotFoundException": (Missing, "not_found"),
    "NotFoundException": (Missing, "not_found"),
    "ResourceExistsException": (Conflict, "exists"),
    # Of an AWS KMS key: each asks for an operator.
    "DisabledException": (Refused, "kms_key_disabled"),
    "KMSInvalidStateException": (Refused, "kms_key_state"),
    "InvalidKeyUsageException": (Refused, "kms_key_usage"),
    "IncorrectKeyException": (Refused, "kms_wrong_key"),
    "InvalidCiphertextException": (Refused, "kms_does_not_open"),
    "KeyUnavailableException": (Unreachable, "kms_key_unavailable"),
    # Secrets Manager could not use the KMS key of the secret, as the caller.
    "EncryptionFailure": (Refused, "kms_refused"),
    "DecryptionFailure": (Refused, "kms_refused"),
    "LimitExceededException": (Refused, "no_room"),
}
_SKEWED = ("Signature expired", "Signature not yet current")
# What InvalidRequestException of Secrets Manager says where it means that a secret is waiting for its end: it has no code for it.
_DELETED = ("marked for deletion", "scheduled for deletion", "marked deleted")


class AwsClient:
    """One service in one region. Made once, used inside one event loop."""

    def __init__(self, service: str, *, region: str, endpoint: str | None, keys: AwsKeys) -> None:
        """Nothing is built or asked yet: the first question does (40 ms, in a thread).

        Args:
            service: As botocore calls it: ``kms``, ``secretsmanager``.
            region: Where.
            endpoint: Another address than the region's public one.
            keys: The broker's own credentials, looked at for each question.
        """
        self._service = service
        self._region = region
        self._endpoint = endpoint
        self._keys = keys
        self._threads = Workers(name=f"aws-{service}", number=_THREADS)
        self._building = threading.Lock()
        self._client: Any = None

    async def ask(self, operation: str, **parameters: object) -> Mapping[str, Any]:
        """The answer, unread: to botocore a page of a portal is one without members, so ask for one with ``member()``.

        Tried again where that may help, so only for what may be asked twice.

        Args:
            operation: As botocore calls it: ``get_secret_value``.
            parameters: The request's members; None stands for one that is not sent.

        Raises:
            RemoteFailure: Of the kind that says what to do, within ``tries.PATIENCE``.
        """
        sent = {name: value for name, value in parameters.items() if value is not None}
        return await tried(lambda: self._signed(operation, sent))

    async def close(self) -> None:
        """Stop taking questions; those under way end by their own timeouts."""
        self._threads.stop()

    async def _signed(self, operation: str, parameters: Mapping[str, object]) -> Mapping[str, Any]:
        try:
            return await self._once(operation, parameters)
        except _BadKeys as bad:
            # They may have been rotated under us: the file or the service has others.
            await self._keys.renew()
            try:
                return await self._once(operation, parameters)
            except _BadKeys as again:
                raise Refused(str(again), reason=again.reason) from bad

    async def _once(self, operation: str, parameters: Mapping[str, object]) -> Mapping[str, Any]:
        try:
            keys = await self._keys.current()
        except BrokerError as error:
            raise Unreachable(f"{self._service}: no credentials to ask with: {error}", reason=error.reason) from error
        if not isinstance(keys, ReadOnlyCredentials):
            what = (
                f"{self._service}: the broker has no AWS credentials of its own (aws.credentials_provider web_identity)"
            )
            raise Refused(what, reason="no_base_credentials")

        def asked() -> Mapping[str, Any]:
            with signed_by(keys):
                return self._with_our_errors(operation, parameters)

        return await self._threads.do(asked)

    def _with_our_errors(self, operation: str, parameters: Mapping[str, object]) -> Mapping[str, Any]:
        """In a thread. "from None": botocore's errors carry the request, the answer, or what a parameter was."""
        place = f"{self._service} {operation}"
        try:
            answer = getattr(self._built(), operation)(**parameters)
        except exceptions.ClientError as error:
            raise _failure(error, place) from None
        except (exceptions.ReadTimeoutError, exceptions.ConnectTimeoutError):
            raise Unreachable(f"{place}: no answer in time", reason="timeout") from None
        except exceptions.ParamValidationError:
            raise Refused(f"{place}: the request is not one that AWS takes", reason="bad_request") from None
        except (ResponseParserError, KeyError, AttributeError, TypeError, ValueError):
            # botocore shows HTML and empty bodies as whatever its parser happened to trip over.
            raise Malformed(f"{place}: not an answer of AWS", reason="malformed_answer") from None
        except (exceptions.HTTPClientError, exceptions.BotoCoreError) as error:
            raise Unreachable(f"{place}: {type(error).__name__}", reason="unreachable") from None
        if not isinstance(answer, Mapping):
            raise Malformed(f"{place}: not an answer of AWS", reason="malformed_answer")
        return answer

    def _built(self) -> Any:
        with self._building:
            if self._client is None:
                config = Config(
                    connect_timeout=CONNECT,
                    read_timeout=LONGEST_TRY,
                    retries={"mode": "standard", "total_max_attempts": 1},
                    max_pool_connections=_THREADS,
                    ignore_configured_endpoint_urls=True,
                )
                session = shared_session()
                self._client = session.create_client(
                    self._service, region_name=self._region, endpoint_url=self._endpoint, config=config
                )
            return self._client


class Encrypted(NamedTuple):
    """What KMS made, and the ARN of the key that it made it with: an alias may name another one tomorrow."""

    blob: bytes
    key: str


class AwsKms:
    """A symmetric key of AWS KMS: encrypts and decrypts 4 KiB at the most, and never shows itself."""

    def __init__(self, key_id: str, *, client: AwsClient) -> None:
        """Take a key by its id, its ARN, or an alias (``alias/NAME``), and a client of ``kms`` in its region."""
        self._key_id = key_id
        self._client = client

    async def encrypt(self, plain: bytes, *, context: Mapping[str, str]) -> Encrypted:
        """``context`` is authenticated, and stands readable in CloudTrail: no secret belongs there.

        Raises:
            RemoteFailure: KMS does not, or cannot be asked.
            ValueError: Over 4096 bytes; a defect of the caller.
        """
        if len(plain) > KMS_PLAIN_MAX:
            raise ValueError(f"{len(plain)} bytes; kms:Encrypt takes {KMS_PLAIN_MAX}")
        answer = await self._client.ask("encrypt", KeyId=self._key_id, Plaintext=plain, EncryptionContext=dict(context))
        return Encrypted(blob=member(answer, "CiphertextBlob", bytes), key=member(answer, "KeyId", str))

    async def decrypt(self, blob: bytes, *, context: Mapping[str, str]) -> bytes:
        """What was encrypted with this key and this context, by whichever of the key's generations.

        The key is named to KMS, so that nothing opens that somebody made with a key of their own (KMS API Reference, Decrypt).

        Raises:
            Refused: ``kms_does_not_open``: another context, or altered. ``kms_wrong_key``: of another key.
            RemoteFailure: KMS does not, or cannot be asked.
        """
        answer = await self._client.ask(
            "decrypt", KeyId=self._key_id, CiphertextBlob=blob, EncryptionContext=dict(context)
        )
        return member(answer, "Plaintext", bytes)

    async def close(self) -> None:
        """Let go of the threads."""
        await self._client.close()


def _failure(error: exceptions.ClientError, place: str) -> RemoteFailure:
    said = error.response.get("Error", {})
    code, message = str(said.get("Code", "")), str(said.get("Message", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if any(word in message for word in _SKEWED):
        return Unreachable(f"{place}: {code}: our clock and AWS's differ", reason="clock_skew")
    if any(word in message for word in _DELETED):
        return Missing(f"{place}: {code}: deleted, and can still come back", reason="deleted")
    if code in _ERRORS:
        kind, reason = _ERRORS[code]
        return kind(f"{place}: {code}", reason=reason)
    if not code or code.isdecimal():
        # botocore makes a status a code where the body names none: that was no service of AWS.
        kind = Unreachable if status >= _SERVER_FAULT else Malformed
        return kind(f"{place}: HTTP {status} without AWS's code", reason="malformed_answer")
    if status >= _SERVER_FAULT:
        return Unreachable(f"{place}: {code}", reason="broken")
    return Refused(f"{place}: {code}", reason="refused")


def member(answer: Mapping[str, Any], name: str, kind: type[_T]) -> _T:
    """What an answer must have.

    Raises:
        Malformed: It has not.
    """
    found = answer.get(name)
    if not isinstance(found, kind):
        raise Malformed(f"AWS's answer has no {name}", reason="malformed_answer")
    return found
