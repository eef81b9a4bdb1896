"""``zerotrust-admin watch replay`` over files as the broker writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from broker.admin.watch import watch
from broker.audit.event import Kind
from broker.core.principal import Principal
from broker.watch.anomaly.sighting import Outcome, Sighting
from tests.fakes.audit import Log
from tests.fakes.life import ALICE, ELSEWHERE, at, days, refusal, sighting
from tests.fakes.places import BERLIN, SYDNEY, database

BOB = "bob@EXAMPLE.COM"


def written(path: Path, sightings: Sequence[Sighting], *, instance: str = "host-1") -> Path:
    """The records of these, signed and chained."""
    log = Log(instance=instance)
    for each in sightings:
        is_used = each.outcome is Outcome.USED
        log.add(
            timestamp=datetime.fromtimestamp(each.at, UTC),
            principal=Principal.parse(each.user),
            kind=Kind.ISSUED if is_used else Kind.REFUSED,
            success=is_used,
            reason=each.reason or None,
            role=each.role,
            source_ip=each.address,
            details={"rule": each.rule},
        )
    file = path / f"audit-{instance}.jsonl"
    file.write_bytes(log.records())
    return file


def replay(*words: str) -> Result:
    return CliRunner().invoke(watch, ["replay", *words])


def test_it_says_what_would_have_been_an_alert_when_and_why(tmp_path: Path) -> None:
    written(tmp_path, [*days(12), sighting(at(14, 3), where=ELSEWHERE, role="prod")])
    result = replay(str(tmp_path))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"2026-03-16T03:00:00Z  medium  unusual_hour  {ALICE}",
        "    Active at 03 h UTC; over 12 days 0.0% of all activity was around that hour.",
        "    The usual hours (UTC) are 09, 10, 11, 12, 13, 14, 15, 16.",
        f"2026-03-16T03:00:00Z  medium  new_network  {ALICE}",
        "    First time from 10.9.9.0/24; 1 network known over 12 days.",
        f"2026-03-16T03:00:00Z  medium  new_role  {ALICE}",
        "    First use of prod; 1 role used over 12 days.",
    ]
    assert result.stderr == "3 alerts in 289 records\n"


def test_files_of_several_instances_are_one_story(tmp_path: Path) -> None:
    whole = [*days(14), *(sighting(at(14, 10) + second) for second in range(30))]
    one = written(tmp_path, whole[::2])
    two = written(tmp_path, whole[1::2], instance="host-2")
    together = replay("--json", str(one), str(two))
    (alert,) = [json.loads(line) for line in together.stdout.splitlines()]
    assert (alert["kind"], alert["user"], alert["role"]) == ("unusual_volume", ALICE, "dev")
    assert replay("--json", str(one)).stdout == ""


def test_places_come_from_the_database_that_is_named(tmp_path: Path) -> None:
    geoip = database(tmp_path / "city.mmdb", {"10.0.0.0/24": BERLIN, "10.9.9.0/24": SYDNEY})
    file = written(tmp_path, [*days(12), sighting(at(12, 10)), sighting(at(12, 11), where=ELSEWHERE)])
    found = replay("--geoip-database", str(geoip), str(file))
    assert "Sydney 60 minutes after Berlin, Germany" in found.stdout
    assert "impossible_travel" not in replay(str(file)).stdout
    missing = replay("--geoip-database", str(tmp_path / "none"), str(file))
    assert (missing.exit_code, missing.stdout) == (78, "")
    assert "cannot be read" in missing.stderr


def test_an_alert_about_an_address_names_the_address(tmp_path: Path) -> None:
    crowd = [refusal(at(0, 10) + each, user=f"user{each}@EXAMPLE.COM") for each in range(9)]
    assert "  spraying  10.0.0.7" in replay(str(written(tmp_path, crowd))).stdout


def test_lines_that_are_no_records_are_counted_and_passed_over(tmp_path: Path) -> None:
    file = written(tmp_path, days(1))
    file.write_bytes(file.read_bytes() + b'{"event": "issued"}\nrubbish\n[]\n{"torn')
    assert replay(str(file)).stderr == "0 alerts in 24 records, 4 lines that are no records\n"


@pytest.mark.parametrize("content", [None, b""])
def test_where_there_are_no_records_it_says_so(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "audit-host-1.jsonl").write_bytes(content)
    result = replay(str(tmp_path))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no audit records" in result.stderr


def test_alerts_in_the_log_are_no_sightings(tmp_path: Path) -> None:
    log = Log()
    log.add(kind=Kind.ALERT, success=False, reason="reuse_of_revoked", principal=Principal.parse(BOB))
    (tmp_path / "audit-host-1.jsonl").write_bytes(log.records())
    assert replay(str(tmp_path)).stderr == "0 alerts in 1 records\n"
