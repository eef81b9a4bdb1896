"""Room on the disks that the broker writes to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from broker.admin.finding import Finding, bad, ok, warn
from broker.assembly.doctor.patient import NotSeen, Patient
from broker.watch.disks import Disk

_MIB = 1024 * 1024
# A record file is begun anew at 64 MiB, and a disk as full as this is full within a day of a small office.
_LITTLE_BYTES = 64 * _MIB
_SOON_BYTES = 1024 * _MIB
# Files of records, checkpoints and replaced state: a handful a day.
_LITTLE_INODES = 100
_SOON_PERCENT = 10


def disk(patient: Patient) -> Iterator[Finding]:
    """Space and inodes where records and state lie; whether it is mounted for writing."""
    settings = patient.settings
    for folder in dict.fromkeys((settings.audit.directory, settings.state_directory)):
        yield _judged(folder)


def _judged(folder: Path) -> Finding:
    there = next((each for each in (folder, *folder.parents) if each.is_dir()), None)
    if there is None:
        raise NotSeen(f"{folder} is not there")
    on = Disk.of(there)
    percent = 100 * on.free // on.size if on.size else 0
    evidence = f"{folder}: {on.free // _MIB} MiB free ({percent} %), {on.files:.0f} inodes"
    fix = f"df -h {there}; move old record files away after `zerotrust-admin audit verify`"
    if on.is_read_only:
        return bad("disk_read_only", f"{folder}: its disk is mounted read-only", f"findmnt -T {there}; dmesg | tail")
    inodes_run_out = on.files < _LITTLE_INODES
    if on.free < _LITTLE_BYTES or inodes_run_out:
        what = f"{evidence}: what cannot be recorded is not handed out"
        return bad("disk_full", what, f"df -i {there}" if inodes_run_out else fix)
    if on.free < _SOON_BYTES or percent < _SOON_PERCENT:
        return warn("disk_nearly_full", evidence, fix)
    return ok(evidence)
