"""From the configuration to channels: their names, what cannot be started with, and what a program that ends leaves behind."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from broker.assembly.notification import CHANNELS, Postbox, left_spool, notifier_of, problems_of
from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.audit.signer import signer_of
from broker.config.load import load
from broker.config.model import Settings
from broker.config.notification import ChannelEntry
from broker.core.clock import SystemClock
from broker.keys.hierarchy import KeyHierarchy, KeyVersion
from broker.keys.hierarchy import Kind as KeyKind
from broker.watch.breach import Notifier
from broker.watch.metrics import Metrics
from tests.fakes.broker import configuration
from tests.fakes.notices import recorded

EMAIL = {"email": {"recipients": ["ann@example.com"]}}
SLACK = {"slack": {"webhook_url": "https://hooks.example.com/x"}}
PAGERDUTY = {"pagerduty": {"integration_key": "0" * 32, "min_severity": "high"}}

MakeSettings = Callable[..., Settings]


@pytest.fixture
def settings(tmp_path: Path) -> MakeSettings:
    def make(*channels: dict[str, Any], enabled: bool = True) -> Settings:
        keytab = tmp_path / "keytab"
        keytab.touch(mode=0o600)
        written = configuration(
            tmp_path,
            keytab=keytab,
            sts_endpoint="http://127.0.0.1:1",
            state={"directory": str(tmp_path / "state")},
            security={"breach_notification": {"enabled": enabled, "channels": list(channels)}},
        )
        file = tmp_path / "config.yaml"
        file.touch(mode=0o600)
        file.write_text(json.dumps(written))
        keys = {"AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST", "ZEROTRUST_AWS_SECRET_KEY": "x"}
        return load(file, environ=keys)

    return make


def notifier(wanted: Settings, folder: Path) -> Notifier | None:
    hierarchy = KeyHierarchy(master=wanted.encryption.key_bytes())
    signer = signer_of(wanted.encryption.key_bytes())
    audit = AuditLog(directory=folder / "audit", signer=signer, clock=SystemClock(), observers=[])
    return notifier_of(wanted, hierarchy=hierarchy, audit=audit, metrics=Metrics(), clock=SystemClock())


def test_every_kind_of_the_configuration_is_in_the_table_and_no_other() -> None:
    assert set(CHANNELS) == set(ChannelEntry.model_fields)


async def test_channels_are_called_by_their_kind_and_the_second_of_a_kind_by_its_number(
    settings: MakeSettings, tmp_path: Path
) -> None:
    made = notifier(settings(SLACK, EMAIL, SLACK, PAGERDUTY), tmp_path)
    assert made is not None
    assert made.channels == ["slack", "email", "slack-2", "pagerduty"]


async def test_nobody_is_told_where_it_is_off(settings: MakeSettings, tmp_path: Path) -> None:
    assert notifier(settings(SLACK, enabled=False), tmp_path) is None
    assert problems_of(settings({"slack": {**SLACK["slack"], "template": "{{"}}, enabled=False)) == []


def test_mail_without_its_package_is_not_started_with(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems_of(settings(SLACK, EMAIL)) == []
    found = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> object:
        return None if name == "aiosmtplib" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    [problem] = problems_of(settings(SLACK, EMAIL))
    what, _, fix = problem.partition(" — fix: ")
    assert what == "security.breach_notification.channels[1].email: needs the package aiosmtplib"
    assert fix == "pip install 'zerotrust-kerberos-link[broker,notify]'"
    assert problems_of(settings(SLACK)) == []


async def test_what_a_program_that_ends_has_to_tell_is_told_by_the_broker_of_its_host(
    settings: MakeSettings, tmp_path: Path
) -> None:
    wanted = settings(SLACK, PAGERDUTY)
    made = notifier(wanted, tmp_path)
    assert made is not None
    await made.open()
    postbox = Postbox(wanted, hierarchy=KeyHierarchy(master=wanted.encryption.key_bytes()))
    event = Event(action="probe", resource="arn:aws:iam::111122223333:role/Developer", kind=Kind.NOT_ENFORCED)
    postbox.observe(recorded(event))
    postbox.observe(recorded(Event(action="probe", resource="x", kind=Kind.PROBED)))
    postbox.leave()
    assert made.waiting == 0
    await made._take_over()
    assert made.waiting == 2
    await made.close()
    again = notifier(wanted, tmp_path)
    assert again is not None
    await again.open()
    assert again.waiting == 2
    await again.close()


def test_a_program_with_nothing_to_tell_leaves_nothing(settings: MakeSettings, tmp_path: Path) -> None:
    quiet = settings(SLACK)
    Postbox(quiet, hierarchy=KeyHierarchy(master=quiet.encryption.key_bytes())).leave()
    assert not (tmp_path / "state").exists()


async def test_files_that_wait_while_nobody_is_told_keep_the_key_that_sealed_them(
    settings: MakeSettings, tmp_path: Path
) -> None:
    old, new = KeyVersion(b"o" * 32), KeyVersion(b"n" * 32)
    silent = settings(SLACK, enabled=False)
    assert notifier(silent, tmp_path) is None
    before, after = (KeyHierarchy.of(dict.fromkeys(KeyKind, keys)) for keys in ([old], [new, old]))
    waiting = left_spool(silent, hierarchy=after)
    assert await waiting.reseal() == frozenset()
    postbox = Postbox(settings(SLACK), hierarchy=before)
    postbox.observe(recorded(Event(action="probe", resource="arn", kind=Kind.NOT_ENFORCED, details={"try": "x"})))
    postbox.leave()
    assert await waiting.reseal() == {old.id}
    for file in (tmp_path / "state").glob("notifications-*"):
        file.unlink()
    assert await waiting.reseal() == frozenset()
