"""Secrets of one Kubernetes namespace: a path is a Secret, a field is a key of its data.

Names there are narrower than our paths: lower case, digits, hyphens and dots (DNS-1123 subdomain, 253 characters). So each
path has exactly one name, and no two paths have the same:

    /             .
    a-z 0-9       themselves, but x is ``x78``
    -             itself inside a step, ``x2d`` at its ends
    others        ``x`` and two hexadecimal digits: ``DB_1`` is ``x44x42x5f1``
    too long      ``xx-`` and the SHA-256 of the path, which then is the annotation ``zerotrust-kerberos-link/path``

A field that Kubernetes takes as a key is its own key, but for an underscore before an x; every other character becomes ``_x``,
its code point in hexadecimal and ``_``. What ``kubectl`` made can therefore be read where its name is one that a path has.

A version is the ``resourceVersion``. Kubernetes keeps the newest one only.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from broker.core.secret import Secret
from broker.remote.failure import Conflict, Malformed, Missing, Refused, RemoteFailure
from broker.remote.kubernetes import Cluster, Held
from broker.secrets.provider import Version, is_path

# The path of a secret whose name is a hash.
PATH_ANNOTATION = "zerotrust-kerberos-link/path"
# Characters: of a DNS-1123 subdomain, and of a key of a Secret's data (validation.IsConfigMapKey).
NAME_MAX = KEY_MAX = 253

_HASHED = "xx-"
_ESCAPED = re.compile(r"x([0-9a-f]{2})")
_ESCAPED_IN_KEY = re.compile(r"_x([0-9a-f]{1,6})_")
_KEY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwyz0123456789")
# How often a write without `cas` begins again because somebody else wrote meanwhile.
_TRIES = 4


def name_of(path: str) -> str:
    """The name of the Secret that a path stands for."""
    name = ".".join(_step(step) for step in path.split("/"))
    return name if len(name) <= NAME_MAX else f"{_HASHED}{hashlib.sha256(path.encode()).hexdigest()}"


def path_of(name: str, annotations: Mapping[str, str]) -> str | None:
    """The path that has this name; None where no path has."""
    if name.startswith(_HASHED):
        path = annotations.get(PATH_ANNOTATION, "")
    else:
        path = "/".join(_ESCAPED.sub(lambda found: chr(int(found[1], 16)), step) for step in name.split("."))
    return path if is_path(path) and name_of(path) == name else None


def key_of(field: str) -> str:
    """The key of a Secret's data that a field stands for.

    Raises:
        Refused: It is empty, or has none of at most 253 characters.
    """
    key = "".join(f"_x{ord(char):x}_" if _strange(field, place) else char for place, char in enumerate(field))
    if not 0 < len(key) <= KEY_MAX:
        raise Refused("a field's name is empty or too long for Kubernetes", reason="field_name")
    return key


def field_of(key: str) -> str:
    """The field that a key stands for.

    Raises:
        Malformed: No field's: somebody else wrote it.
    """
    field = _ESCAPED_IN_KEY.sub(lambda found: chr(min(int(found[1], 16), sys.maxunicode)), key)
    if key_of(field) != key:
        raise Malformed("a secret in Kubernetes has a key that stands for no field", reason="foreign_key")
    return field


class KubernetesProvider:
    """See ``Provider``."""

    def __init__(self, *, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace

    async def read(self, path: str, *, version: str | None = None) -> Version:
        """See ``Provider``. Raises ``Missing`` for every version but the newest."""
        held = await self._held(path)
        if version is not None and version != held.revision:
            raise Missing("Kubernetes keeps the newest version only", reason="version_not_found")
        try:
            fields = {field_of(key): Secret(value.decode()) for key, value in held.data.items()}
        except UnicodeDecodeError:
            raise Malformed("a value in Kubernetes is not text", reason="not_text") from None
        return Version(fields=fields, number=held.revision, made=_moment(held))

    async def write(self, path: str, fields: Mapping[str, Secret], *, cas: int | None = None) -> str:
        """See ``Provider``. ``cas`` is a ``resourceVersion``."""
        data = {key_of(field): value.reveal().encode() for field, value in fields.items()}
        if cas == 0:
            return (await self._create(path, data)).revision
        for _ in range(_TRIES - 1):
            try:
                return await self._write(path, data, cas)
            except Conflict:
                if cas is not None:
                    raise
        return await self._write(path, data, cas)

    async def delete(self, path: str) -> None:
        """See ``Provider``. It cannot come back."""
        await self._held(path)
        await self._cluster.delete(self._namespace, name_of(path))

    async def list(self, prefix: str) -> Sequence[str]:
        """See ``Provider``. Secrets of a type of their own (tokens, releases of Helm) are none of ours."""
        below = f"{prefix.rstrip('/')}/" if prefix else ""
        held = await self._cluster.secrets(self._namespace)
        paths = (path_of(each.name, each.metadata.get("annotations") or {}) for each in held)
        return sorted(path for path in paths if path is not None and path.startswith(below))

    async def ping(self) -> str | None:
        """See ``Provider``."""
        try:
            await self._cluster.look(self._namespace)
        except RemoteFailure as error:
            return str(error)
        return None

    async def close(self) -> None:
        """See ``Provider``."""
        await self._cluster.close()

    async def _write(self, path: str, data: Mapping[str, bytes], cas: int | None) -> str:
        try:
            held = await self._held(path)
        except Missing:
            if cas is not None:
                raise Conflict("there is no such secret in Kubernetes", reason="changed_meanwhile") from None
            return (await self._create(path, data)).revision
        if cas is not None and held.revision != str(cas):
            raise Conflict("the secret in Kubernetes has another version", reason="changed_meanwhile")
        return (await self._cluster.replace(self._namespace, held, data)).revision

    async def _create(self, path: str, data: Mapping[str, bytes]) -> Held:
        name = name_of(path)
        noted = {"annotations": {PATH_ANNOTATION: path}} if name.startswith(_HASHED) else {}
        return await self._cluster.create(self._namespace, name, data, **noted)

    async def _held(self, path: str) -> Held:
        held = await self._cluster.secret(self._namespace, name_of(path))
        if path_of(held.name, held.metadata.get("annotations") or {}) != path:
            # A hash in the name proves nothing about what somebody put under it.
            raise Malformed("the secret in Kubernetes does not say that it has this path", reason="other_path")
        return held


def _step(step: str) -> str:
    ends = {0, len(step) - 1}
    return "".join(
        char if char in _PLAIN or (char == "-" and place not in ends) else f"x{ord(char):02x}"
        for place, char in enumerate(step)
    )


def _strange(field: str, place: int) -> bool:
    """Whether a character of a field's name cannot stand for itself: ``..`` begins no key, ``_x`` begins an escape."""
    char = field[place]
    return char not in _KEY_CHARACTERS or (char == "." and place == 0) or field[place : place + 2] == "_x"


def _moment(held: Held) -> datetime | None:
    made = held.metadata.get("creationTimestamp")
    try:
        return datetime.fromisoformat(made).astimezone(UTC) if isinstance(made, str) else None
    except ValueError:
        return None
