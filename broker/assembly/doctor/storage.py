"""Room on the disks that the broker writes to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from broker.admin.finding import Finding, bad, ok, warn
from broker.assembly.doctor.patient import NotSeen, Patient

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
    status = os.statvfs(there)
    free, room = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    percent = 100 * free // room if room else 0
    evidence = f"{folder}: {free // _MIB} MiB free ({percent} %), {status.f_favail} inodes"
    fix = f"df -h {there}; move old record files away after `zerotrust-admin audit verify`"
    if status.f_flag & os.ST_RDONLY:
        return bad("disk_read_only", f"{folder}: its disk is mounted read-only", f"findmnt -T {there}; dmesg | tail")
    # Some file systems make inodes as they need them, and say that they have none.
    inodes_run_out = status.f_files > 0 and status.f_favail < _LITTLE_INODES
    if free < _LITTLE_BYTES or inodes_run_out:
        what = f"{evidence}: what cannot be recorded is not handed out"
        return bad("disk_full", what, f"df -i {there}" if inodes_run_out else fix)
    if free < _SOON_BYTES or percent < _SOON_PERCENT:
        return warn("disk_nearly_full", evidence, fix)
    return ok(evidence)
