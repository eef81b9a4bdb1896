"""AWS Secrets Manager: a path is the name of a secret, its fields the members of the JSON object that AWS's own tools keep.

A version is AWS's id, or a staging label: ``AWSCURRENT``, ``AWSPREVIOUS``. Every write says under which id it is made, so that
asking twice writes once. Of check-and-set only ``0`` can be promised, by CreateSecret: AWS's versions are not counted.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from broker.core.secret import Secret
from broker.remote.aws import AwsClient, member
from broker.remote.failure import Conflict, Malformed, Missing, Refused, RemoteFailure
from broker.remote.tries import bounded
from broker.secrets.one_text import fields_of, text_of
from broker.secrets.provider import Version, is_path

CURRENT = "AWSCURRENT"
# Bytes (Secrets Manager quotas, "Secret value size").
TEXT_MAX = 65536
# Days in which a deleted secret can come back: the most that AWS allows, and its own default.
RECOVERY_DAYS = 30
# A version's id is 32 to 64 characters; AWS makes UUIDs (API Reference, GetSecretValue). A label of that form reads as an id.
_VERSION_ID = re.compile(r"[A-Za-z0-9-]{32,64}")
_PAGE = 100
_PING_SECONDS = 1.8


class SecretsManager:
    """See ``Provider``."""

    def __init__(self, *, client: AwsClient, kms_key_id: str | None, token: Callable[[], str]) -> None:
        """Take a client of ``secretsmanager``.

        Args:
            client: In the region of the secrets.
            kms_key_id: What new secrets are encrypted with: an id, an ARN, ``alias/NAME``; None for ``aws/secretsmanager``.
            token: Makes the id of a version: 32 to 64 characters that never come again.
        """
        self._client = client
        self._kms_key_id = kms_key_id
        self._token = token

    async def read(self, path: str, *, version: str | None = None) -> Version:
        """See ``Provider``. ``version`` may be a staging label."""
        chosen = {"VersionStage": CURRENT} if version is None else _chosen(version)
        answer = await self._client.ask("get_secret_value", SecretId=path, **chosen)
        text, number = answer.get("SecretString"), member(answer, "VersionId", str)
        if answer.get("Name") != path:
            raise Malformed("AWS's answer is of another secret", reason="malformed_answer")
        if not isinstance(text, str):
            raise Malformed("the secret at AWS keeps bytes (SecretBinary), not text", reason="not_text")
        return Version(fields=fields_of(Secret(text)), number=number, made=_moment(answer, "CreatedDate"))

    async def write(self, path: str, fields: Mapping[str, Secret], *, cas: int | None = None) -> str:
        """See ``Provider``. A secret that is waiting for its end comes back, and then has this version."""
        if cas not in (None, 0):
            what = "versions at AWS are not counted: only that there is none yet can be checked"
            raise Refused(what, reason="cas_unsupported")
        text, token = text_of(fields).reveal(), self._token()
        if len(text.encode()) > TEXT_MAX:
            raise Refused(f"a secret at AWS has at most {TEXT_MAX} bytes", reason="too_large")
        async with bounded():
            return await self._written(path, text, token, is_new=cas == 0)

    async def delete(self, path: str) -> None:
        """See ``Provider``. All its versions; it can come back for thirty days (``RestoreSecret``, or a write)."""
        answer = await self._client.ask("delete_secret", SecretId=path, RecoveryWindowInDays=RECOVERY_DAYS)
        member(answer, "ARN", str)

    async def list(self, prefix: str) -> Sequence[str]:
        """See ``Provider``. Names that are no path of ours are left out. In all within the time of one question."""
        below = f"{prefix.rstrip('/')}/" if prefix else ""
        async with bounded():
            return sorted([name async for name in self._names(below) if name.startswith(below) and is_path(name)])

    async def ping(self) -> str | None:
        """See ``Provider``."""
        try:
            async with bounded(_PING_SECONDS):
                member(await self._client.ask("list_secrets", MaxResults=1), "SecretList", list)
        except RemoteFailure as error:
            return str(error)
        return None

    async def close(self) -> None:
        """See ``Provider``."""
        await self._client.close()

    async def _written(self, path: str, text: str, token: str, *, is_new: bool) -> str:
        if is_new:
            return await self._create(path, text, token)
        try:
            return await self._put(path, text, token)
        except Missing as error:
            if error.reason == "deleted":
                member(await self._client.ask("restore_secret", SecretId=path), "ARN", str)
                return await self._put(path, text, token)
        try:
            return await self._create(path, text, token)
        except Conflict:
            # Somebody made it between our two questions.
            return await self._put(path, text, token)

    async def _create(self, path: str, text: str, token: str) -> str:
        try:
            answer = await self._client.ask(
                "create_secret", Name=path, SecretString=text, ClientRequestToken=token, KmsKeyId=self._kms_key_id
            )
        except Missing as error:
            if error.reason != "deleted":
                raise
            raise Conflict(
                f"{path} waits for its end at AWS: a write without cas brings it back", reason="deleted"
            ) from error
        return member(answer, "VersionId", str)

    async def _put(self, path: str, text: str, token: str) -> str:
        answer = await self._client.ask("put_secret_value", SecretId=path, SecretString=text, ClientRequestToken=token)
        return member(answer, "VersionId", str)

    async def _names(self, below: str) -> AsyncIterator[str]:
        # AWS's own filter is by prefix, letter by letter.
        filters = [{"Key": "name", "Values": [below]}] if below else None
        following: str | None = None
        while True:
            answer = await self._client.ask("list_secrets", MaxResults=_PAGE, Filters=filters, NextToken=following)
            for entry in member(answer, "SecretList", list):
                yield str(entry.get("Name"))
            following = answer.get("NextToken")
            if not following:
                return


def _chosen(version: str) -> Mapping[str, str]:
    return {"VersionId": version} if _VERSION_ID.fullmatch(version) else {"VersionStage": version}


def _moment(answer: Mapping[str, Any], name: str) -> datetime | None:
    found = answer.get(name)
    return found.astimezone(UTC) if isinstance(found, datetime) else None
