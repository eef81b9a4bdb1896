"""Where sealed documents lie: a key of a Kubernetes Secret's data, or a file that may be committed.

Both are stored optimistically: only where what was read still lies there.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.remote.failure import Conflict, Malformed, Missing, Refused
from broker.remote.kubernetes import Cluster, Held
from broker.secrets.transit import Sealed

# Bytes: of the largest document, as ciphertext.
_FILE_MAX = 1024 * 1024
# A ciphertext tells nobody anything.
_MODE = 0o644


class KubernetesPlace:
    """One key of one Secret's data; what else is in the Secret stays as it is."""

    def __init__(self, *, cluster: Cluster, namespace: str, name: str, key: str) -> None:
        self._cluster = cluster
        self._namespace, self._name, self._key = namespace, name, key
        self.name = f"kubernetes {namespace}/{name}#{key}"

    async def read(self) -> Sealed:
        """See ``Place``."""
        held = await self._held()
        if self._key not in held.data:
            raise Missing(f"{self.name}: the Secret has no such key", reason="not_found")
        return Sealed(_text(held.data[self._key], self.name), held)

    async def store(self, ciphertext: str, *, instead_of: Sealed | None) -> None:
        """See ``Place``."""
        value = {self._key: ciphertext.encode()}
        if instead_of is not None:
            held = instead_of.revision
            assert isinstance(held, Held)  # noqa: S101  # it is what `read` gave
            await self._cluster.replace(self._namespace, held, {**held.data, **value})
            return
        try:
            held = await self._held()
        except Missing:
            await self._cluster.create(self._namespace, self._name, value)
            return
        if self._key in held.data:
            raise Conflict(f"{self.name}: something lies there", reason="there_already")
        await self._cluster.replace(self._namespace, held, {**held.data, **value})

    async def _held(self) -> Held:
        try:
            return await self._cluster.secret(self._namespace, self._name)
        except Missing as missing:
            raise Missing(f"{self.name}: there is no such Secret", reason=missing.reason) from missing


class FilePlace:
    """A file with one line, the ciphertext. Exchanged as a whole, by one process of this machine at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = f"file {path}"

    async def read(self) -> Sealed:
        """See ``Place``."""
        return await asyncio.to_thread(self._read)

    async def store(self, ciphertext: str, *, instead_of: Sealed | None) -> None:
        """See ``Place``."""
        await asyncio.to_thread(self._store, ciphertext, instead_of)

    def _read(self) -> Sealed:
        try:
            with self._path.open("rb") as file:
                content = file.read(_FILE_MAX)
        except FileNotFoundError:
            raise Missing(f"{self.name}: there is no such file", reason="not_found") from None
        except OSError as error:
            raise self._cannot(error) from error
        return Sealed(_text(content, self.name), content)

    def _store(self, ciphertext: str, instead_of: Sealed | None) -> None:
        try:
            with _locked(self._path.parent) as folder:
                self._require(instead_of)
                # One name, under the lock: what a kill leaves behind is overwritten by whoever comes next.
                made = f".{self._path.name}.sealed"
                descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, _MODE, dir_fd=folder)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(f"{ciphertext}\n".encode())
                    file.flush()
                    os.fsync(descriptor)
                os.rename(made, self._path.name, src_dir_fd=folder, dst_dir_fd=folder)
                os.fsync(folder)
        except OSError as error:
            raise self._cannot(error) from error

    def _require(self, instead_of: Sealed | None) -> None:
        try:
            there = self._read().revision
        except Missing:
            there = None
        if there != (None if instead_of is None else instead_of.revision):
            raise Conflict(f"{self.name}: is not what was read", reason="there_already")

    def _cannot(self, error: OSError) -> Refused:
        return Refused(f"{self.name}: {os.strerror(error.errno or 0)}", reason="file_refused")


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _text(value: bytes, name: str) -> str:
    try:
        return value.decode("ascii").removesuffix("\n")
    except UnicodeDecodeError:
        raise Malformed(f"{name}: what lies there is no ciphertext", reason="no_ciphertext") from None
