"""Secrets as sealed rows: what is read is opened and checked, what is written is sealed and swapped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from broker.keys.envelope import Envelope
from broker.remote.failure import Malformed, Missing
from broker.secrets.encoding import check_path
from broker.secrets.high_water import HighWaterMarks
from broker.secrets.metadata import Metadata, Stamp, VersionInfo
from broker.secrets.seals import Seals, new_header
from broker.secrets.store import GENERATION_BYTES, REPLACED, Store, Swap, replaced

# Heads asked for at once, and opened before others get their turn: some megabytes at the worst, some milliseconds.
PAGE = 64
# A version goes only together with a head that says so, so that the second look finds out.
_LOOKS = 4
# What is wrong with all of them.
_STORE = "the store"


@dataclass(frozen=True, slots=True)
class Found:
    """A secret's head, as it lies there and opened. It may say that the secret was purged."""

    name: bytes
    head: bytes
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class Saved:
    """All of a secret: what is known of it, the values of its versions as bytes, its last use."""

    metadata: Metadata
    versions: Mapping[int, bytes] = field(repr=False)
    used: Stamp | None = None


# Of a row, by its name and what people call it: it is not what was put there.
Hear = Callable[[bytes, str, Malformed], None]


class Rows:
    """Of one store."""

    def __init__(self, *, store: Store, envelope: Envelope, hear: Hear) -> None:
        self.store = store
        self.hear = hear
        self._envelope = envelope
        self._seals: Seals | None = None
        self._marks = HighWaterMarks()

    async def seals(self) -> Seals:
        """What rows are sealed and named with; a store that is empty gets its header. Raises Malformed."""
        if self._seals is None:
            self._seals = await self._begun()
        return self._seals

    async def again(self) -> None:
        """Read the header anew: somebody exchanged it."""
        self._seals = await self._begun()

    async def name(self, path: str) -> bytes:
        """Where a path lies."""
        return (await self.seals()).name(path)

    async def found(self, path: str) -> Found | None:
        """What lies there, or lay there.

        Raises:
            Unfit: It is no path.
            Malformed: What lies there is not what was put there last, as far as this shows.
        """
        check_path(path)
        with self._heard(await self.name(path), path):
            return await self._looked(lambda seals: seals.name(path), path=path)

    async def there(self, path: str) -> Found:
        """The same where there is a secret. Raises Missing besides."""
        found = await self.found(path)
        if found is None or found.metadata.purged is not None:
            raise Missing(f"there is no secret {path}", reason="not_found")
        return found

    async def values(self, path: str, choose: Callable[[Metadata], VersionInfo]) -> tuple[Metadata, bytes]:
        """The values of the version that ``choose`` takes, as bytes; passes on what it raises."""
        for _ in range(_LOOKS):
            found = await self.there(path)
            number = choose(found.metadata).number
            blob = await self.store.version(found.name, number)
            if blob is not None:
                with self._heard(found.name, path):
                    return found.metadata, (await self.seals()).text(found.metadata, number, blob)
            if await self.store.head(found.name) == found.head:
                break
        with self._heard(found.name, path):
            raise _vanished(path, number)

    async def saved(self, name: bytes) -> Saved | None:
        """All that lies under a name; None where it is gone meanwhile. Raises Malformed."""
        seals = await self.seals()
        kept = await self.store.whole(name)
        if kept is None:
            return None
        metadata = seals.metadata(name, kept.head)
        numbers = [one.number for one in metadata.versions if one.destroyed is None]
        if lost := [number for number in numbers if number not in kept.versions]:
            raise _vanished(metadata.path, lost[0])
        texts = {number: seals.text(metadata, number, kept.versions[number]) for number in numbers}
        return Saved(metadata, texts, None if kept.use is None else seals.used(name, kept.use))

    async def swapped(self, before: Found | None, after: Metadata, *, puts: Mapping[int, bytes] | None = None) -> bool:
        """Put ``after`` in the place of ``before``, with new values by number; False where somebody else was faster."""
        seals = await self.seals()
        kept = {one.number for one in after.versions if one.destroyed is None}
        had = set() if before is None else {one.number for one in before.metadata.versions if one.destroyed is None}
        name = seals.name(after.path)
        swap = Swap(
            name=name,
            before=None if before is None else before.head,
            after=seals.head(after),
            puts={number: seals.version(after, number, text) for number, text in (puts or {}).items()},
            drops=had - kept,
        )
        with self._heard(name, after.path):
            (is_done,) = await self.store.swap([swap])
        if is_done:
            self._marks.check(name, revision=after.revision, path=after.path)
        return is_done

    async def below(self, prefix: str) -> AsyncIterator[Metadata]:
        """Of each secret below, in no order; of each there is, for ""."""
        beginning = prefix.removesuffix("/")
        if beginning:
            check_path(beginning)
            beginning += "/"
        async for found in self.each():
            if found.metadata.purged is None and found.metadata.path.startswith(beginning):
                yield found.metadata

    async def each(
        self, *, pause: float = 0.0, damaged: Callable[[Malformed], None] | None = None
    ) -> AsyncIterator[Found]:
        """Everything that has a head, in the order of names, with so many seconds for others behind each page.

        What does not open is given to ``damaged``, or raised: Malformed.
        """
        with self._heard(b"", _STORE):
            await self._check_store()
        after = b""
        while page := await self.store.heads(after, limit=PAGE):
            for name, head in page:
                try:
                    with self._heard(name, name.hex()):
                        found = await self._sure(name, head)
                except Malformed as failure:
                    if damaged is None or failure.reason == REPLACED:
                        raise
                    damaged(failure)
                    continue
                if found is not None:
                    yield found
            after = page[-1][0]
            # Others get their turn: opening a page takes no I/O to wait for.
            await asyncio.sleep(pause)

    # ---- inside ----

    @contextmanager
    def _heard(self, name: bytes, what: str) -> Iterator[None]:
        try:
            yield
        except Malformed as failure:
            of_all = failure.reason == REPLACED
            self.hear(b"" if of_all else name, _STORE if of_all else what, failure)
            raise

    async def _begun(self) -> Seals:
        with self._heard(b"", _STORE):
            return Seals(envelope=self._envelope, header=await self.store.begin(new_header(self._envelope)))

    async def _check_store(self) -> None:
        """Raises Malformed: the store is not the one that was begun with. Nobody takes it for one without secrets."""
        generation = (await self.seals()).generation
        header = await self.store.header()
        if header is None or header[:GENERATION_BYTES] != generation:
            raise replaced()

    async def _looked(self, name_by: Callable[[Seals], bytes], *, path: str) -> Found | None:
        """Looks again before it cries out: of two answers that cross, the older may come last."""
        for look in range(_LOOKS):
            seals = await self.seals()
            name = name_by(seals)
            head = await self.store.head(name)
            if head is None:
                await self._check_store()
            try:
                return self._opened(seals, name, head, path=path)
            except Malformed:
                if look + 1 == _LOOKS:
                    raise
        raise AssertionError

    async def _sure(self, name: bytes, head: bytes) -> Found | None:
        try:
            return self._opened(await self.seals(), name, head)
        except Malformed:
            return await self._looked(lambda _: name, path="a secret")

    def _opened(self, seals: Seals, name: bytes, head: bytes | None, *, path: str = "") -> Found | None:
        if head is None:
            self._marks.check(name, revision=0, path=path)
            return None
        metadata = seals.metadata(name, head)
        self._marks.check(name, revision=metadata.revision, path=metadata.path)
        return Found(name, head, metadata)


def _vanished(path: str, number: int) -> Malformed:
    what = f"version {number} of {path} is gone from the store"
    return Malformed(f"{what} — fix: restore it from a backup", reason="vanished")
