"""What each operation makes of a secret's metadata: pure, so that everything the vault does can be seen on one page.

A number is given once. What is purged leaves its last number behind, so that ``path`` and number in a record name one value
for ever, and whoever puts back an old row is found out by its revision.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from broker.remote.failure import Conflict, Missing
from broker.secrets.metadata import Details, Metadata, Stamp, VersionInfo
from broker.secrets.unfit import Archived, Unfit


def written(
    before: Metadata | None, *, path: str, cas: int | None, details: Details | None, stamp: Stamp, born: str
) -> Metadata:
    """With one version more, and without those beyond what is kept.

    Raises:
        Conflict: ``cas`` is not the newest number.
        Archived: Nobody writes it now.
    """
    there = None if before is None or before.purged is not None else before
    if cas is not None and cas != (0 if there is None else there.newest):
        # The number that is there helps who may write; who may not is not told by this vault.
        found = "is not there" if there is None else f"is at version {there.newest}"
        raise Conflict(f"{path} {found}, not at {cas} — fix: read it and try again", reason="cas_mismatch")
    if there is None:
        number = 1 if before is None else before.newest + 1
        return Metadata(
            path=path,
            born=born,
            revision=1 if before is None else before.revision + 1,
            created=stamp,
            newest=number,
            versions=(VersionInfo(number, stamp),),
            details=details or Details(),
        )
    _check_not_archived(there)
    details = details or there.details
    number = there.newest + 1
    versions = (*there.versions, VersionInfo(number, stamp))[-details.versions_kept :]
    return replace(_next(there), newest=number, versions=versions, details=details, rotated=stamp)


def annotated(before: Metadata, *, details: Details, stamp: Stamp) -> Metadata:
    """With other details. Fewer versions to keep count from the next write."""
    return replace(_next(before), details=details, annotated=stamp)


def deleted(before: Metadata, *, numbers: Collection[int] | None, stamp: Stamp) -> Metadata:
    """With these versions deleted, the newest where none are named; what is deleted already stays so.

    Raises:
        Missing: There is no such version.
    """
    _check_not_archived(before)
    chosen = _chosen(before, numbers)
    after = _each(before, chosen, lambda one: replace(one, deleted=stamp) if one.is_readable else one)
    return replace(after, deleted=stamp)


def undeleted(before: Metadata, *, numbers: Collection[int] | None) -> Metadata:
    """With these versions back. Raises as ``deleted``, and for what is destroyed."""
    _check_not_archived(before)
    chosen = _chosen(before, numbers)
    for number in chosen:
        one = before.version(number)
        if one is not None and one.destroyed is not None:
            raise Missing(f"version {number} of {before.path} is destroyed and cannot come back", reason="destroyed")
    return _each(before, chosen, lambda one: replace(one, deleted=None))


def destroyed(before: Metadata, *, numbers: Collection[int], stamp: Stamp) -> Metadata:
    """With the values of these versions gone for ever. Raises as ``deleted``."""
    _check_not_archived(before)
    chosen = _chosen(before, numbers)
    return _each(before, chosen, lambda one: one if one.destroyed else replace(one, destroyed=stamp))


def archived(before: Metadata, *, stamp: Stamp) -> Metadata:
    """Put away."""
    return before if before.archived else replace(_next(before), archived=stamp)


def unarchived(before: Metadata) -> Metadata:
    """Taken back."""
    return before if before.archived is None else replace(_next(before), archived=None)


def purged(before: Metadata, *, stamp: Stamp) -> Metadata:
    """Nothing but path, numbers, and who did it when."""
    return Metadata(
        path=before.path,
        born=before.born,
        revision=before.revision + 1,
        created=before.created,
        newest=before.newest,
        versions=(),
        purged=stamp,
    )


def adopted(before: Metadata, saved: Metadata, *, born: str) -> Metadata:
    """What was saved, in the place of what was purged. Its numbers count again, and no row of the time before opens."""
    return replace(saved, born=born, revision=max(before.revision, saved.revision) + 1)


def _next(before: Metadata) -> Metadata:
    return replace(before, revision=before.revision + 1)


def _each(before: Metadata, numbers: Collection[int], change: Callable[[VersionInfo], VersionInfo]) -> Metadata:
    versions = tuple(change(one) if one.number in numbers else one for one in before.versions)
    return replace(_next(before), versions=versions)


def _chosen(before: Metadata, numbers: Collection[int] | None) -> Collection[int]:
    chosen = {before.newest} if numbers is None else set(numbers)
    if not chosen:
        raise Unfit("no version is named — fix: name the numbers", reason="unfit_version")
    if unknown := sorted(number for number in chosen if before.version(number) is None):
        raise Missing(f"{before.path} has no version {unknown[0]}", reason="no_such_version")
    return chosen


def _check_not_archived(metadata: Metadata) -> None:
    if metadata.archived is not None:
        raise Archived(f"{metadata.path} is archived — fix: unarchive it first", reason="archived")
