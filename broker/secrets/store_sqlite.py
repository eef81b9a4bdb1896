"""The vault's rows in a SQLite file of the state directory, shared by the instances of one host.

Every statement runs on one thread of its own. A change is a transaction, synced before it counts (WAL, ``synchronous=FULL``):
after a crash at any moment it is there or it is not. Who comes second waits a moment for the lock; what lasts longer is a clean
failure, as is a full disk. The file is private, and judged before it is opened.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from broker.core.private_file import PermissionProblem, open_private
from broker.core.workers import Workers
from broker.remote.failure import Malformed, RemoteFailure, Unreachable
from broker.secrets.store import BEGINNING_BYTES, GENERATION_BYTES, Snapshot, Swap, replaced

NAME = "vault.sqlite"
_DIRECTORY_MODE = 0o700
_FILE_MODE = 0o600
# How long the lock is waited for: within what a client waits, and long beside any transaction of ours.
_BUSY_MILLISECONDS = 2000
# "ZTVB" as a number: `file` and we can tell it from other people's databases (sqlite.org/fileformat2.html, offset 68).
_APPLICATION = 0x5A545642
_SCHEMA_VERSION = 1
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS header (one INTEGER PRIMARY KEY CHECK (one = 1), blob BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS secrets (name BLOB NOT NULL PRIMARY KEY, head BLOB NOT NULL, used BLOB) STRICT;
CREATE TABLE IF NOT EXISTS versions
  (name BLOB NOT NULL, number INTEGER NOT NULL, blob BLOB NOT NULL, PRIMARY KEY (name, number)) STRICT;
PRAGMA application_id = {application};
PRAGMA user_version = {version};
COMMIT;
"""
_PRAGMAS = (
    f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}",
    "PRAGMA journal_mode = WAL",
    # FULL: WAL is synced at every commit; NORMAL would lose the last ones with the power.
    "PRAGMA synchronous = FULL",
    # What is dropped is overwritten with zeros.
    "PRAGMA secure_delete = ON",
    # A file that somebody else made up runs no code here.
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
)

# A blob's beginning lies in the row itself; what of it is longer than a page is not read.
_BEGINNINGS = (
    f"SELECT name, substr(head, 1, {BEGINNING_BYTES}), substr(used, 1, {BEGINNING_BYTES}) "  # noqa: S608  # a number
    "FROM secrets WHERE name > ? ORDER BY name LIMIT ?"
)
_BEGINNINGS_OF_VERSIONS = f"SELECT name, substr(blob, 1, {BEGINNING_BYTES}) FROM versions WHERE name BETWEEN ? AND ?"  # noqa: S608

_T = TypeVar("_T")


class SqliteStore:
    """See ``Store``."""

    def __init__(self, *, directory: Path) -> None:
        """Nothing is opened yet."""
        self.path = directory / NAME
        self._worker = Workers(name="vault", number=1)
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._generation = b""

    async def begin(self, proposed: bytes) -> bytes:
        """See ``Store``."""

        def work(db: sqlite3.Connection) -> bytes:
            with _transaction(db):
                found = db.execute("SELECT blob FROM header").fetchone()
                if found is not None:
                    return bytes(found[0])
                if db.execute("SELECT 1 FROM secrets LIMIT 1").fetchone() is not None:
                    raise Malformed(f"{self.path} has lost its header — fix: restore a backup", reason="store_damaged")
                db.execute("INSERT INTO header VALUES (1, ?)", (proposed,))
                return proposed

        header = await self._do(work)
        self._generation = header[:GENERATION_BYTES]
        return header

    async def header(self) -> bytes | None:
        """See ``Store``."""
        return await self._do(lambda db: _one(db, "SELECT blob FROM header"))

    async def put_header(self, before: bytes, after: bytes) -> bool:
        """See ``Store``."""

        def work(db: sqlite3.Connection) -> bool:
            return db.execute("UPDATE header SET blob = ? WHERE blob = ?", (after, before)).rowcount == 1

        return await self._do(work)

    async def head(self, name: bytes) -> bytes | None:
        """See ``Store``."""
        return await self._do(lambda db: _one(db, "SELECT head FROM secrets WHERE name = ?", name))

    async def version(self, name: bytes, number: int) -> bytes | None:
        """See ``Store``."""
        return await self._do(
            lambda db: _one(db, "SELECT blob FROM versions WHERE name = ? AND number = ?", name, number)
        )

    async def whole(self, name: bytes) -> Snapshot | None:
        """See ``Store``."""

        def work(db: sqlite3.Connection) -> Snapshot | None:
            with _transaction(db, "DEFERRED"):
                found = db.execute("SELECT head, used FROM secrets WHERE name = ?", (name,)).fetchone()
                if found is None:
                    return None
                versions = db.execute("SELECT number, blob FROM versions WHERE name = ?", (name,)).fetchall()
            return Snapshot(head=found[0], use=found[1], versions=dict(versions))

        return await self._do(work)

    async def swap(self, swaps: Sequence[Swap]) -> Sequence[bool]:
        """See ``Store``."""

        def work(db: sqlite3.Connection) -> list[bool]:
            with _transaction(db):
                header = _one(db, "SELECT blob FROM header")
                if header is None or header[:GENERATION_BYTES] != self._generation:
                    raise replaced()
                return [_swapped(db, swap) for swap in swaps]

        return await self._do(work)

    async def heads(self, after: bytes, *, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """See ``Store``."""
        statement = "SELECT name, head FROM secrets WHERE name > ? ORDER BY name LIMIT ?"
        return await self._do(lambda db: db.execute(statement, (after, limit)).fetchall())

    async def beginnings(self, after: bytes, *, limit: int) -> Sequence[tuple[bytes, Sequence[bytes]]]:
        """See ``Store``."""

        def work(db: sqlite3.Connection) -> list[tuple[bytes, Sequence[bytes]]]:
            with _transaction(db, "DEFERRED"):
                found: dict[bytes, list[bytes]] = {}
                for name, head, used in db.execute(_BEGINNINGS, (after, limit)):
                    found[name] = [head] if used is None else [head, used]
                if found:
                    for name, version in db.execute(_BEGINNINGS_OF_VERSIONS, (min(found), max(found))):
                        found.get(name, []).append(version)
                return list(found.items())

        return await self._do(work)

    async def note(self, uses: Mapping[bytes, bytes]) -> None:
        """See ``Store``."""

        def work(db: sqlite3.Connection) -> None:
            with _transaction(db):
                rows = [(use, name) for name, use in uses.items()]
                db.executemany("UPDATE secrets SET used = ? WHERE name = ?", rows)

        await self._do(work)

    async def uses(self, names: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """See ``Store``."""

        def work(db: sqlite3.Connection) -> dict[bytes, bytes]:
            found = {name: _one(db, "SELECT used FROM secrets WHERE name = ?", name) for name in names}
            return {name: use for name, use in found.items() if use is not None}

        return await self._do(work)

    async def scrub(self) -> None:
        """See ``Store``: what lay in the log of writes goes too, unless somebody is reading it now."""
        await self._do(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())

    async def ping(self) -> str | None:
        """See ``Store``."""
        try:
            header = await self.header()
        except RemoteFailure as error:
            return str(error)
        is_ours = self._generation in (b"", (header or b"")[:GENERATION_BYTES])
        return None if is_ours else str(replaced())

    async def close(self) -> None:
        """See ``Store``."""
        await self._worker.do(self._let_go)
        self._worker.stop()

    # ---- on the thread ----

    async def _do(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        def job() -> _T:
            try:
                return work(self._opened())
            except sqlite3.Error as error:
                raise self._failure(error) from error

        return await self._worker.do(job)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and _inode(self.path) != self._inode:
            # Somebody took the file away or put another in its place: what is written to the old one is lost.
            self._let_go()
        if self._connection is None:
            self._connection = self._connect()
            self._inode = _inode(self.path)
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                # SQLite gives its log and its index the mode of the database.
                os.close(os.open(self.path, flags, _FILE_MODE))
            open_private(self.path).close()
        except PermissionProblem as error:
            raise Unreachable(str(error), reason="store_unsafe") from error
        except OSError as error:
            raise Unreachable(
                f"{self.path} cannot be made ({error.strerror}) — fix: let the account of the broker write there",
                reason="store_unreachable",
            ) from error
        db = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=_BUSY_MILLISECONDS / 1000
        )
        try:
            with _alone(self.path.parent):
                for pragma in _PRAGMAS:
                    db.execute(pragma)
                self._check_schema(db)
        except BaseException:
            db.close()
            raise
        return db

    def _check_schema(self, db: sqlite3.Connection) -> None:
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if (application, version) == (_APPLICATION, _SCHEMA_VERSION):
            return
        if (application, version, tables) != (0, 0, 0):
            raise Malformed(
                f"{self.path} is no vault of this version of the broker — fix: name the right state directory, or run "
                "the version that made it",
                reason="store_damaged",
            )
        try:
            db.executescript(_SCHEMA.format(application=_APPLICATION, version=_SCHEMA_VERSION))
        except sqlite3.Error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _let_go(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _failure(self, error: sqlite3.Error) -> RemoteFailure:
        """One of ours. The lower byte of the code is the kind (sqlite.org/rescode.html)."""
        kind = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        what = f"{self.path}: {error}"
        if kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            self._let_go()
            return Malformed(f"{what} — fix: move it away and restore a backup", reason="store_damaged")
        if kind == sqlite3.SQLITE_FULL:
            return Unreachable(f"{what} — fix: make room; nothing was changed", reason="store_full")
        if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return Unreachable(f"{what} — fix: see who holds it for so long", reason="store_busy")
        self._let_go()
        return Unreachable(
            f"{what} — fix: see that the account of the broker can write there", reason="store_unreachable"
        )


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One at a time makes the file or switches it to WAL: others would see half of it, or be told at once that it is locked."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _swapped(db: sqlite3.Connection, swap: Swap) -> bool:
    if swap.before is None:
        found = db.execute("INSERT OR IGNORE INTO secrets (name, head) VALUES (?, ?)", (swap.name, swap.after))
    else:
        statement = "UPDATE secrets SET head = ? WHERE name = ? AND head = ?"
        found = db.execute(statement, (swap.after, swap.name, swap.before))
    if found.rowcount != 1:
        return False
    db.executemany("DELETE FROM versions WHERE name = ? AND number = ?", [(swap.name, one) for one in swap.drops])
    puts = [(swap.name, number, blob) for number, blob in swap.puts.items()]
    db.executemany("INSERT OR REPLACE INTO versions VALUES (?, ?, ?)", puts)
    return True


def _one(db: sqlite3.Connection, statement: str, *values: object) -> bytes | None:
    found = db.execute(statement, values).fetchone()
    return None if found is None else found[0]


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    db.execute(f"BEGIN {kind}")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # After some errors SQLite has rolled back by itself (a full disk).
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return status.st_dev, status.st_ino
