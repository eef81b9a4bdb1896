"""The probe against the strict STS: a hop that does not demand its external ID is an alarm and a record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from broker.admin.assembled import Assembled
from broker.admin.cli import main
from broker.assembly.audit import own_keys
from broker.assembly.backup import VaultFiles
from broker.assembly.doctor.examine import examine
from broker.assembly.evidence import key_ages_of, setup_of
from broker.assembly.probe import caller, probe
from broker.assembly.resolver import VaultResolver, sealed_value
from broker.assembly.transit import Documents
from broker.audit.signer import jwks_of, signer_of
from broker.audit.verify import verify
from broker.audit.writer import Writer
from broker.config.load import load
from broker.core.clock import SystemClock
from broker.keys.envelope import Envelope
from broker.keys.hierarchy import KeyHierarchy, Use
from broker.watch.spool import SpoolFile
from tests.fakes.audit import an_event
from tests.fakes.sts import StrictSts, World, demo
from tests.fakes.trust import DIRECT, MIDDLE, applied, configuration, documents, world_of

FOUND = documents()
ROLES = {arn for arn, one in FOUND.items() if one.comes}
ADMIN = Path(sys.executable).parent / "zerotrust-admin"
TRIES = ["right", "without", "wrong"]
BY_OPERATOR = Assembled(
    probe=lambda settings: probe(settings, clock=SystemClock()),
    examine=lambda config, only, assume: examine(config, only, may_assume=assume, clock=SystemClock()),
    caller=lambda settings: caller(settings, clock=SystemClock()),
    setup=setup_of,
    key_ages=key_ages_of,
    own_keys=own_keys,
    resolver=lambda sections: VaultResolver(sections=sections),
    sealed_value=sealed_value,
    vault_files=lambda: VaultFiles(clock=SystemClock()),
    documents=Documents,
)


@dataclass
class Site:
    """A broker's files, and how the probe is run there."""

    folder: Path
    config: Path = field(init=False)

    def __post_init__(self) -> None:
        (self.folder / "audit").mkdir(mode=0o750)
        self.config = configuration(self.folder)

    def probe(self, sts: StrictSts, *options: str) -> Result:
        arguments = ["doctor", "--probe", "--config", str(self.config), *options]
        environ = {"ZEROTRUST_AWS_STS_ENDPOINT": sts.url, "AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
        return CliRunner().invoke(main, arguments, obj=BY_OPERATOR, env=environ)

    def records(self) -> list[dict[str, Any]]:
        lines = [line for file in (self.folder / "audit").glob("audit-*") for line in file.read_bytes().splitlines()]
        return [json.loads(line) for line in lines]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def world(*, lax: dict[str, Any]) -> World:
    """The world of the printed documents, in which some roles have other conditions on the external ID."""
    policies = applied(FOUND)
    for arn, condition in lax.items():
        for statement in policies[arn]["trust"]["Statement"]:
            if statement.get("Condition", {}).pop("StringEquals", None):
                statement["Condition"].update(condition)
    return world_of(policies, FOUND)


@pytest.fixture(scope="module")
def sts() -> Iterator[StrictSts]:
    with StrictSts(world(lax={})) as sts:
        yield sts


@dataclass
class Run:
    """What one probe of a sound world left behind."""

    result: subprocess.CompletedProcess[str]
    calls: list[dict[str, Any]]
    records: list[dict[str, Any]]
    folder: Path


@pytest.fixture(scope="module")
def run(sts: StrictSts, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """By the installed program, as a timer would."""
    sts.clear()
    site = Site(tmp_path_factory.mktemp("probe"))
    command = [ADMIN, "doctor", "--probe", "--config", str(site.config)]
    environ = {"PATH": os.environ["PATH"], "ZEROTRUST_AWS_STS_ENDPOINT": sts.url}
    result = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    return Run(result, sts.calls(), site.records(), site.folder)


def test_where_every_hop_demands_its_external_id_all_is_well(run: Run) -> None:
    assert (run.result.returncode, run.result.stderr) == (0, "")
    lines = run.result.stdout.splitlines()
    assert {line.split(": ")[0] for line in lines} == {f"ok {arn}" for arn in ROLES}
    assert {call["role_arn"] for call in run.calls} == ROLES


def test_each_hop_is_tried_right_then_without_then_wrong_and_shared_ones_once(run: Run) -> None:
    calls = [call for call in run.calls if call["role_arn"] == demo.DEVELOPER_ROLE]
    assert [call["outcome"] for call in calls] == ["OK", "AccessDenied", "AccessDenied"]
    assert [call["session_name"] for call in calls] == ["zerotrust-probe"] * 3
    assert [call["duration"] for call in calls] == [900] * 3
    # The hub is the first hop of three roles; one of them sets tags there, and is a try of its own.
    assert len([call for call in run.calls if call["role_arn"] == demo.HUB_ROLE]) == 6


def test_every_try_has_its_record_and_each_hop_its_intent_before_it(run: Run) -> None:
    start, *records, stop = run.records
    assert (start["event"], stop["event"]) == ("broker_start", "broker_stop")
    assert len(records) % 4 == 0
    for place in range(0, len(records), 4):
        intent, *outcomes = records[place : place + 4]
        assert (intent["event"], intent["action"], intent["tries"]) == ("intent", "probe", TRIES)
        probed = [(one["event"], one["try"], one["success"]) for one in outcomes]
        assert probed == [("probed", which, True) for which in TRIES]
        assert len({one["resource"] for one in (intent, *outcomes)}) == 1
        assert {one["source_identity"] for one in outcomes} == {"zerotrust-probe"}
    issued = {call["access_key_id_issued"] for call in run.calls} - {None}
    assert {one.get("access_key_id") for one in records} - {None} == issued


def test_the_records_of_a_probe_verify(run: Run) -> None:
    report = verify([run.folder / "audit"], jwks=jwks_of(signer_of(bytes(range(32)))))
    assert (report.findings, report.instances, report.records) == ([], 1, len(run.records))


def test_a_probe_beside_a_running_broker_leaves_both_chains_whole(site: Site, sts: StrictSts) -> None:
    signer = signer_of(bytes(range(32)))
    broker = Writer(directory=site.folder / "audit", signer=signer, clock=SystemClock())
    broker.commit([an_event().members()])
    assert site.probe(sts).exit_code == 0
    broker.commit([an_event(2).members()])
    broker.close()
    report = verify([site.folder / "audit"], jwks=jwks_of(signer))
    assert (report.findings, report.instances) == ([], 2)


def test_what_the_probe_finds_waits_on_the_disk_for_the_broker_of_its_host_to_tell(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = "[{slack: {webhook_url: 'https://hooks.example.com/x'}}]"
    monkeypatch.setenv("ZEROTRUST_SECURITY_BREACH_NOTIFICATION_CHANNELS", channels)
    left = site.folder / "audit" / "notifications-1"
    with StrictSts(world(lax={})) as sts:
        assert site.probe(sts).exit_code == 0
        assert not left.exists(), "nothing was found"
    with StrictSts(world(lax={DIRECT: {}})) as sts:
        assert site.probe(sts).exit_code == 1
    key = load(site.config, environ=dict(os.environ)).encryption.key_bytes()
    envelope = Envelope(keys=[KeyHierarchy(master=key).derive(Use.NOTIFICATION_SEAL)])
    letters = SpoolFile(directory=left.parent, envelope=envelope).open()
    assert {(letter.channel, letter.notice.name) for letter in letters} == {("slack", "external_id_not_enforced")}
    told, counted = (letter.notice for letter in letters)
    assert told.happened == f"A role does not demand its external ID: {DIRECT}"
    # It is reached in two ways, and let in without any external ID and with a wrong one.
    assert (told.about, counted.number) == (DIRECT, 3)


def test_hops_that_do_not_demand_their_external_id_are_alarms_and_records(site: Site) -> None:
    lax = {
        demo.HUB_ROLE: {},
        DIRECT: {},
        MIDDLE: {"StringLike": {"sts:SourceIdentity": "*", "sts:ExternalId": "zerotrust-v3-*"}},
    }
    with StrictSts(world(lax=lax)) as sts:
        result = site.probe(sts, "--json")
        calls = sts.calls()
    findings = json.loads(result.stdout)
    alarms = {(one["arn"], one["what"]) for one in findings if one["level"] == "bad"}
    without, wrong = (f"ALARM: lets the broker in with{how} external ID" for how in ("out any", " a wrong"))
    everything = {(arn, what) for arn in (demo.HUB_ROLE, DIRECT) for what in (without, wrong)}
    assert alarms == everything | {(MIDDLE, wrong)}, "the near miss is what a pattern lets through"
    assert {one["arn"] for one in findings if one["level"] == "ok"} == ROLES - set(lax)
    assert result.exit_code == 1
    kept = [one for one in site.records() if one["event"] == "external_id_not_enforced"]
    assert {(one["resource"], one["reason"], one["success"]) for one in kept} == {
        (arn, "assumed_without" if "without" in what else "assumed_wrong", False) for arn, what in alarms
    }
    # Every session that should not exist can be found in CloudTrail by its record.
    said = [one["access_key_id"] for one in site.records() if one.get("access_key_id")]
    assert sorted(said) == sorted(call["access_key_id_issued"] for call in calls if call["outcome"] == "OK")
    shown = result.output + json.dumps(site.records())
    for secret in ("zerotrust-v3-", "zerotrust-v4-", demo.HUB_EXTERNAL_ID, demo.BROKER_SECRET_ACCESS_KEY):
        assert secret not in shown
    assert "ASIA" not in result.output


def test_a_hop_that_refuses_the_right_one_proves_nothing_about_what_lies_behind(site: Site) -> None:
    policies = applied(FOUND)
    del policies[demo.HUB_ROLE]["trust"]["Statement"][1:]
    with StrictSts(world_of(policies, FOUND)) as sts:
        result = site.probe(sts, "--json")
        assert len(sts.calls(role_arn=demo.HUB_ROLE)) == 2, "once without tags and once with: wrong tries mean nothing"
        assert sts.calls(role_arn=MIDDLE) == []
    levels = {(one["level"], one["arn"]) for one in json.loads(result.stdout)}
    assert ("bad", demo.HUB_ROLE) in levels
    assert {("unseen", demo.DEVELOPER_ROLE), ("unseen", MIDDLE)} <= levels
    assert ("ok", DIRECT) in levels, "it is reached by another role, too"
    assert result.exit_code == 1


def test_what_cannot_be_recorded_is_not_tried(site: Site, sts: StrictSts) -> None:
    sts.clear()
    (site.folder / "audit").chmod(0o777)
    result = site.probe(sts)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no record could be written" in result.stderr
    assert sts.calls() == []


def test_another_account_than_the_owner_of_the_records_may_not_probe(site: Site, sts: StrictSts) -> None:
    sts.clear()
    os.chown(site.folder / "audit", 12345, 12345)
    result = site.probe(sts)
    assert (result.exit_code, result.stdout) == (78, "")
    assert "belongs to user id 12345" in result.stderr
    assert " — fix: run it as that account: sudo -u '#12345' zerotrust-admin doctor --probe" in result.stderr
    assert sts.calls() == []
    assert list((site.folder / "audit").iterdir()) == []


@pytest.mark.parametrize(
    "option", [["--profile", "x"], ["--endpoint-url", "http://127.0.0.1:1"], ["--broker-arn", "x"]]
)
def test_options_of_the_other_way_are_refused(site: Site, sts: StrictSts, option: list[str]) -> None:
    result = site.probe(sts, *option)
    assert (result.exit_code, result.stdout) == (2, "")
    assert " — fix: leave the other options out" in result.stderr
