"""No record, no credential: the daemon on a real disk that is full, read-only, frozen, broken, or in foreign hands."""

from __future__ import annotations

import json
import os
import resource
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes import proc
from tests.fakes.asker import Answer, Asker, get
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.disk import Disk
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts, demo_world

StartBroker = Callable[..., BrokerProcess]


@pytest.fixture(scope="module")
def sts() -> Iterator[StrictSts]:
    with StrictSts(demo_world()) as server:
        yield server


@pytest.fixture(scope="module")
def alice(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Asker:
    return Asker(realm, realm.kinit("alice", tmp_path_factory.mktemp("alice") / "ccache"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with Disk(tmp_path) as disk:
        yield disk


@pytest.fixture
def prepared(realm: Realm, sts: StrictSts, tmp_path: Path) -> Iterator[StartBroker]:
    """Makes brokers that keep their records in a given directory, and ends them."""
    made: list[BrokerProcess] = []

    def prepare(directory: Path, state: Path | None = None) -> BrokerProcess:
        folder = tmp_path / f"broker-{len(made)}"
        folder.mkdir()
        keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")
        audit = {"directory": str(directory)}
        settings = configuration(folder, keytab=keytab, sts_endpoint=sts.url, audit=audit)
        if state is not None:
            settings["state"] = {"directory": str(state)}
        made.append(BrokerProcess(folder, settings, env=realm.env))
        return made[-1]

    yield prepare
    for broker in made:
        broker.kill()


def refused(answer: Answer) -> None:
    """503 within a second, and not a trace of a key."""
    assert (answer.status, answer.body["code"]) == (503, "audit_unavailable"), answer.text
    assert answer.seconds < 1
    for trace in ("ASIA", "AKIA", "SecretAccessKey", "SessionToken"):
        assert trace not in answer.text


def until(status: int, alice: Asker, broker: BrokerProcess, *, tries: int = 200) -> Answer:
    """Ask until the broker answers so; every key that is handed out on the way has its record already."""
    for _ in range(tries):
        answer = alice.ask(broker.url)
        if answer.status == 200:
            assert answer.body["AccessKeyId"] in recorded(broker)
        if answer.status == status:
            return answer
    raise AssertionError(f"no {status} in {tries} tries: {answer.status} {answer.text}")


def recorded(broker: BrokerProcess) -> set[str]:
    return {record["access_key_id"] for record in broker.records() if record["event"] == "issued"}


def verified(broker: BrokerProcess) -> None:
    assert broker.stop() == 0
    done = broker.admin("audit", "verify")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.startswith("good: ")


def test_a_full_disk_refuses_and_recovers_without_a_restart(disk: Disk, alice: Asker, prepared: StartBroker) -> None:
    broker = prepared(disk.path / "audit").start()
    assert alice.ask(broker.url).status == 200
    disk.fill()
    refused(until(503, alice, broker))  # The last block of the file may have room for a few more.
    for _ in range(5):
        refused(alice.ask(broker.url))
    ready = get(broker.url, "/readyz")
    assert (ready.status, ready.body["status"]) == (503, "degraded")
    assert "No space left" in ready.body["dependencies"]["audit"]["reason"]
    done = broker.admin("audit", "verify")
    assert done.returncode == 0, done.stderr
    disk.empty()
    assert alice.ask(broker.url).status == 200
    assert get(broker.url, "/readyz").status == 200
    verified(broker)


def test_a_disk_that_is_full_at_the_start_refuses_before_aws_is_asked_until_there_is_space(
    disk: Disk, alice: Asker, prepared: StartBroker, sts: StrictSts
) -> None:
    (disk.path / "audit").mkdir(mode=0o750)
    disk.fill()
    broker = prepared(disk.path / "audit").start()
    calls = len(sts.calls())
    refused(alice.ask(broker.url))
    assert len(sts.calls()) == calls
    disk.empty()
    assert get(broker.url, "/readyz").status == 200
    assert alice.ask(broker.url).status == 200
    verified(broker)


def test_a_directory_that_is_read_only_at_the_start_refuses_until_it_is_not(
    disk: Disk, alice: Asker, prepared: StartBroker
) -> None:
    disk.remount("ro")
    broker = prepared(disk.path / "audit").start()
    refused(alice.ask(broker.url))
    disk.remount("rw")
    assert alice.ask(broker.url).status == 200
    verified(broker)


def test_a_disk_that_turns_read_only_while_the_file_is_open_refuses_and_recovers(
    disk: Disk, alice: Asker, prepared: StartBroker
) -> None:
    broker = prepared(disk.path / "audit").start()
    assert alice.ask(broker.url).status == 200
    disk.go_read_only()
    for _ in range(3):
        refused(alice.ask(broker.url))
    disk.repair()
    assert alice.ask(broker.url).status == 200
    verified(broker)


def test_a_disk_that_fails_with_input_output_errors_refuses_and_recovers(
    disk: Disk, alice: Asker, prepared: StartBroker
) -> None:
    broker = prepared(disk.path / "audit").start()
    assert alice.ask(broker.url).status == 200
    disk.go_away()
    for _ in range(3):
        refused(alice.ask(broker.url))
    disk.repair()
    assert alice.ask(broker.url).status == 200
    verified(broker)


@pytest.mark.parametrize("folder", ["audit", "."], ids=["a folder of it", "all of it"])
def test_a_disk_that_is_unmounted_refuses_until_it_is_back_and_nothing_is_written_where_it_was(
    disk: Disk, alice: Asker, prepared: StartBroker, tmp_path: Path, folder: str
) -> None:
    # What is kept there where no state directory is configured is put back within a second; it is not the records.
    broker = prepared(disk.path / folder, tmp_path / "state").start()
    assert alice.ask(broker.url).status == 200
    disk.unmount()
    for _ in range(3):
        refused(alice.ask(broker.url))
    assert list(disk.path.iterdir()) == []
    disk.mount()
    assert alice.ask(broker.url).status == 200
    verified(broker)
    assert "is not the disk that the records are on" in broker.output.read_text()


def test_a_disk_that_hangs_refuses_within_a_second_and_recovers_when_it_answers(
    disk: Disk, alice: Asker, prepared: StartBroker
) -> None:
    broker = prepared(disk.path / "audit").start()
    assert alice.ask(broker.url).status == 200
    with disk.frozen():
        at_once: list[Answer] = []
        askers = [threading.Thread(target=lambda: at_once.append(alice.ask(broker.url))) for _ in range(5)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        assert len(at_once) == 5
        for answer in at_once:
            refused(answer)
        behind = alice.ask(broker.url)
        refused(behind)
        assert behind.seconds < 0.8
        assert get(broker.url, "/healthz").seconds < 0.8
    deadline = time.monotonic() + 5
    while alice.ask(broker.url).status != 200:
        assert time.monotonic() < deadline
    verified(broker)


def test_a_write_that_comes_up_short_leaves_no_part_of_a_record(
    alice: Asker, prepared: StartBroker, tmp_path: Path
) -> None:
    """RLIMIT_FSIZE cuts a write off in the middle, then fails the rest with EFBIG."""
    broker = prepared(tmp_path / "audit").start()
    assert alice.ask(broker.url).status == 200
    path = next(broker.audit_directory.glob("audit-*"))
    assert broker.process is not None
    before = path.read_bytes()
    resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, (len(before) + 100, resource.RLIM_INFINITY))
    for _ in range(3):
        refused(alice.ask(broker.url))
        assert path.read_bytes() == before
    resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert alice.ask(broker.url).status == 200
    verified(broker)


def in_use(prepared: StartBroker, alice: Asker, directory: Path) -> tuple[BrokerProcess, Path]:
    broker = prepared(directory).start()
    assert alice.ask(broker.url).status == 200
    return broker, next(directory.glob("audit-*"))


def test_a_file_that_logrotate_renames_costs_nobody_an_answer(
    alice: Asker, prepared: StartBroker, tmp_path: Path
) -> None:
    broker, path = in_use(prepared, alice, tmp_path / "audit")
    for number in range(3):
        path.rename(path.with_name(f"{path.name}.{number}"))
        assert alice.ask(broker.url).status == 200
        assert path.exists()
    verified(broker)


def test_a_file_that_was_deleted_is_missed(alice: Asker, prepared: StartBroker, tmp_path: Path) -> None:
    broker, path = in_use(prepared, alice, tmp_path / "audit")
    path.unlink()
    answer = alice.ask(broker.url)
    assert answer.status == 200
    assert answer.body["AccessKeyId"] in recorded(broker)
    done = broker.admin("audit", "verify")
    assert done.returncode == 1
    assert "first bad sequence number 1:" in done.stderr


def test_a_file_that_was_cut_names_the_first_record_it_lost(
    alice: Asker, prepared: StartBroker, tmp_path: Path
) -> None:
    broker, path = in_use(prepared, alice, tmp_path / "audit")
    os.truncate(path, len(path.read_bytes().split(b"\n")[0]) + 1)
    assert alice.ask(broker.url).status == 200
    done = broker.admin("audit", "verify")
    assert done.returncode == 1
    assert "first bad sequence number 2:" in done.stderr
    assert "it was cut" in broker.output.read_text()


@pytest.mark.parametrize("what", ["link", "foreign", "pipe"])
def test_what_stands_in_the_place_of_the_file_is_not_written_to(
    alice: Asker, prepared: StartBroker, tmp_path: Path, what: str
) -> None:
    broker, path = in_use(prepared, alice, tmp_path / "audit")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"something of value\n")
    path.rename(path.with_name(path.name + ".1"))
    if what == "link":
        path.symlink_to(elsewhere)
    elif what == "pipe":
        os.mkfifo(path)
    else:
        shutil.copy(elsewhere, path)
    for _ in range(2):
        refused(alice.ask(broker.url))
    assert elsewhere.read_bytes() == b"something of value\n"
    path.unlink()
    assert alice.ask(broker.url).status == 200
    verified(broker)


@pytest.mark.parametrize("what", ["open", "foreign"])
def test_a_directory_that_is_open_to_others_or_theirs_is_not_started_with(
    prepared: StartBroker, tmp_path: Path, what: str
) -> None:
    directory = tmp_path / "audit"
    broker = prepared(directory)
    directory.mkdir(mode=0o750)
    directory.chmod(0o777 if what == "open" else 0o750)
    os.chown(directory, 54_321 if what == "foreign" else -1, -1)
    done = broker.serve()
    said = {"open": "is writable by others — fix: chmod go-w", "foreign": "belongs to user id 54321 — fix: chown 0"}
    assert done.returncode == 78
    assert f"audit.directory: {directory} {said[what]}" in done.stderr
    assert broker.check_config().returncode == 78


def test_a_directory_that_is_opened_to_others_meanwhile_is_not_used(
    alice: Asker, prepared: StartBroker, tmp_path: Path
) -> None:
    broker, path = in_use(prepared, alice, tmp_path / "audit")
    path.parent.chmod(0o777)
    path.rename(path.with_name(path.name + ".1"))
    refused(alice.ask(broker.url))
    assert "chmod go-w" in broker.output.read_text()
    path.parent.chmod(0o750)
    assert alice.ask(broker.url).status == 200
    verified(broker)


def test_hours_of_refusals_leave_no_descriptors_and_few_lines(
    alice: Asker, prepared: StartBroker, tmp_path: Path
) -> None:
    broker, path = in_use(prepared, alice, tmp_path / "audit")
    path.rename(path.with_name(path.name + ".1"))
    path.symlink_to("nowhere")
    refused(alice.ask(broker.url))
    assert broker.process is not None
    before, written = proc.descriptors(broker.process.pid), len(broker.output.read_text())
    for _ in range(40):
        refused(alice.ask(broker.url))
    assert proc.descriptors(broker.process.pid) <= before + 1
    assert len(broker.output.read_text()) == written


def test_an_intent_is_recorded_before_aws_is_asked_and_the_outcome_behind_it(
    alice: Asker, prepared: StartBroker, tmp_path: Path
) -> None:
    broker, _ = in_use(prepared, alice, tmp_path / "audit")
    intent, issued = broker.records()[-2:]
    assert (intent["event"], issued["event"]) == ("intent", "issued")
    assert intent["request_id"] == issued["request_id"]
    assert intent["access_key_id"] is None
    assert (issued["success"], issued["reason"], issued["user"]) == (True, None, "alice@EXAMPLE.COM")
    verified(broker)


def test_a_refusal_is_recorded_with_its_reason(alice: Asker, prepared: StartBroker, tmp_path: Path) -> None:
    broker, _ = in_use(prepared, alice, tmp_path / "audit")
    answer = alice.ask(broker.url, role="administrator")
    assert answer.status == 403
    record = broker.last_record()
    assert (record["event"], record["success"], record["reason"]) == ("refused", False, "no_rule")
    assert record["request_id"] == answer.body["request_id"]
    assert "reason" not in json.loads(answer.text)
    verified(broker)
