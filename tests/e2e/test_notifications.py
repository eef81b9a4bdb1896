"""Mails and posts as they are received from a running broker, and that a kill loses none."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker import wire_operators
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.hooks import KEY, SIGNING_SECRET, SLACK_PATH, Hooks
from tests.fakes.mail import MailServer
from tests.fakes.operator import Operator, last
from tests.fakes.realm import Realm

ROOT, ALICE = "root/admin@EXAMPLE.COM", "alice@EXAMPLE.COM"
ANN = "ann@example.com"
NO_STS = "http://127.0.0.1:1"
CANARIES = (SLACK_PATH.rpartition("/")[2], KEY, SIGNING_SECRET, "canary-smtp-password")


@dataclass
class Town:
    broker: BrokerProcess
    mail: MailServer
    hooks: Hooks
    root: Operator
    alice: Operator

    def records(self, event: str) -> list[dict[str, Any]]:
        return [record for record in self.broker.records() if record["event"] == event]

    def page(self, path: str) -> str:
        with urllib.request.urlopen(self.broker.url + path) as answer:  # noqa: S310  our own broker's
            text: str = answer.read().decode()
        return text

    def until(self, true: Callable[[], object], *, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, self.broker.output.read_text()
            time.sleep(0.02)


def channels(mail: MailServer, hooks: Hooks) -> list[dict[str, Any]]:
    smtp = {
        "port": mail.port,
        "tls": "starttls",
        "ca_file": str(mail.certificate),
        "username": "broker",
        "password": "canary-smtp-password",
    }
    return [
        {"email": {"recipients": [ANN], "from": "broker@example.com", "smtp": smtp}},
        {"slack": {"webhook_url": hooks.url + SLACK_PATH}},
        {"pagerduty": {"integration_key": KEY, "url": f"{hooks.url}/v2/enqueue"}},
        {"webhook": {"url": f"{hooks.url}/hook", "secret": SIGNING_SECRET, "min_severity": "high"}},
    ]


@pytest.fixture(scope="module")
def town(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")
    (folder / "state").mkdir(mode=0o700)
    with MailServer(folder / "mail", tls="starttls", password="canary-smtp-password") as mail, Hooks() as hooks:
        settings = configuration(
            folder,
            keytab=keytab,
            sts_endpoint=NO_STS,
            state={"directory": str(folder / "state")},
            admin={"socket": str(folder / "s"), "principals": [ROOT]},
            security={"breach_notification": {"enabled": True, "channels": channels(mail, hooks)}},
        )
        root = Operator(realm, "root/admin", folder / "root")
        root.env |= {"ZEROTRUST_ADMIN_SOCKET": str(folder / "s"), "ZEROTRUST_HOST": "localhost"}
        with BrokerProcess(folder, settings, env=realm.env) as broker:
            yield Town(broker, mail, hooks, root, Operator(realm, "alice", folder / "alice"))


def test_a_test_goes_through_each_channel_and_is_recorded(town: Town) -> None:
    done = town.root.admin("notify-test")
    assert done.stdout.splitlines() == [
        "email: delivered: taken for ann@example.com",
        "slack: delivered: ok",
        "pagerduty: delivered: accepted",
        "webhook: delivered: HTTP 204",
    ]
    assert (done.returncode, done.stderr) == (0, "")
    record = last(town.broker)
    assert (record["event"], record["user"], record["action"]) == ("notification_tested", ROOT, "test_notification")
    assert record["delivered"] == ["email", "slack", "pagerduty", "webhook"]
    assert town.mail.box.mails[-1]["Subject"] == "[low] Test: nothing has happened"
    assert "By:       root/admin@EXAMPLE.COM" in town.mail.box.mails[-1].get_content()


def test_a_channel_that_does_not_take_the_test_is_named_and_ends_it_with_1(town: Town) -> None:
    town.hooks.next_answers = [(404, "no_service", {})]
    done = town.root.admin("notify-test", "--channel", "slack")
    assert (done.returncode, done.stdout) == (1, "slack: NOT DELIVERED: HTTP 404 no_service\n")
    assert "[undelivered] — run: zerotrust-admin notify-test" in done.stderr
    unknown = town.root.admin("notify-test", "--channel", "sms")
    assert unknown.returncode == 2
    assert "no channel is called so; these are: email, slack, pagerduty, webhook" in unknown.stderr


def test_nobody_else_sends_a_test(town: Town) -> None:
    body = wire_operators.notification_test(channel=None)
    answer = town.alice.ask(town.broker.url, "POST", wire_operators.NOTIFICATION_TEST_PATH, body)
    assert (answer.status, answer.code) == (403, "access_denied")


def test_a_revocation_reaches_everybody_who_is_to_hear_of_it_and_is_recorded_with_its_times(town: Town) -> None:
    before, mails = len(town.hooks.taken), len(town.mail.box.raw)
    assert town.root.admin("revoke-sessions", "--user", ALICE).returncode == 0
    revoked = town.records("access_revoked")[-1]
    town.until(lambda: len(town.records("notified")) >= 3)
    posts = town.hooks.taken[before:]
    # The webhook wants to hear of what is severe only.
    assert sorted(post.path for post in posts) == [SLACK_PATH, "/v2/enqueue"]
    mail = town.mail.box.mails[mails]
    assert mail["To"] == ANN
    assert mail["Subject"] == ("[medium] Access was revoked: sessions of alice@EXAMPLE.COM, by root/admin@EXAMPLE.COM")
    assert mail.get_content().splitlines() == [
        f"An operator took sessions from {ALICE}. If that was not you or a colleague, an operator's account is in wrong hands.",
        "What AWS has handed out runs on until it expires.",
        "",
        "By:       root/admin@EXAMPLE.COM",
        "About:    alice@EXAMPLE.COM",
        *([f"From:     {revoked['source_ip']}"] if revoked["source_ip"] else []),
        f"Recorded: {revoked['timestamp'][:19]}Z",
        "",
        "What to do now:",
        f"    zerotrust-admin audit trace {revoked['request_id']}",
        "    zerotrust-admin revocations",
        "",
        f"Record {revoked['seq']} of instance {revoked['instance']}, request {revoked['request_id']}.",
    ]
    for record in town.records("notified"):
        assert record["request_id"] == revoked["request_id"]
        assert (record["notice"], record["about"], record["notice_id"]) == (
            "access_revoked",
            ALICE,
            f"{revoked['instance']}-{revoked['seq']}",
        )
        assert record["detected"] == f"{revoked['timestamp'][:19]}Z"
        assert 0 <= record["seconds_after"] < 10


def test_what_nobody_took_before_a_kill_is_delivered_after_the_restart(town: Town) -> None:
    # What is one matter is told once in a quarter of an hour: this is another, by its principal.
    town.hooks.next_answers = [(503, "later", {})] * 2
    mails, told = len(town.mail.box.raw), len(town.records("notified"))
    assert town.root.admin("revoke-sessions", "--all").returncode == 0
    town.until(lambda: len(town.mail.box.raw) > mails)
    town.until(lambda: not town.hooks.next_answers)
    town.until(lambda: len(town.records("notified")) == told + 1)
    # On the disk before the kill; two of three letters are left.
    time.sleep(0.3)
    town.broker.kill()
    before = len(town.hooks.taken)
    town.broker.start()
    posts = town.hooks.wait(before + 2)[before:]
    text = next(post.body["text"] for post in posts if post.path == SLACK_PATH)
    assert text.startswith("[medium] Access was revoked: sessions of everybody, by root/admin@EXAMPLE.COM")
    summary = next(post.body["payload"]["summary"] for post in posts if post.path == "/v2/enqueue")
    assert summary in text
    town.until(lambda: len(town.records("notified")) == told + 3)
    time.sleep(0.3)
    assert len(town.mail.box.raw) == mails + 1, "who has it does not get it twice"
    assert (town.broker.folder / "state" / "notifications-1").stat().st_mode & 0o777 == 0o600


def test_a_refusal_for_good_degrades_and_is_counted(town: Town) -> None:
    town.hooks.next_answers = [(404, "no_service", {})] * 2
    assert town.root.admin("revoke-sessions", "--user", "mallory@EXAMPLE.COM").returncode == 0
    town.until(lambda: len(town.records("notification_failed")) == 2)
    failed = town.records("notification_failed")[0]
    assert (failed["reason"], failed["success"]) == ("refused", False)
    ready = json.loads(town.page("/readyz"))
    assert ready["status"] == "degraded"
    assert "HTTP 404 no_service" in ready["dependencies"]["notifications"]["reason"]
    # The mail takes its own time.
    town.until(lambda: 'broker_notifications_total{channel="email",outcome="delivered"}' in town.page("/metrics"))
    metrics = town.page("/metrics")
    assert 'broker_notifications_total{channel="slack",outcome="refused"} 1.0' in metrics
    assert "broker_notification_channels_failing 2.0" in metrics


def test_no_secret_of_a_channel_is_in_a_log_a_record_or_a_metric(town: Town) -> None:
    seen = [town.page("/metrics"), town.broker.output.read_text()]
    # The vault's file is no text.
    lies = [*town.broker.audit_directory.iterdir(), *(town.broker.folder / "state").iterdir()]
    seen += [path.read_text(errors="replace") for path in lies if path.is_file()]
    assert not [secret for secret in CANARIES for text in seen if secret in text]
    done = town.broker.admin("audit", "verify")
    assert done.returncode == 0, done.stderr


def test_a_template_that_cannot_be_used_is_not_started_with(town: Town, tmp_path: Path, realm: Realm) -> None:
    settings = json.loads(json.dumps(town.broker.settings))
    settings["security"]["breach_notification"]["channels"][1]["slack"]["template"] = "{{ hapened }}"
    done = BrokerProcess(tmp_path, settings, env=realm.env).check_config()
    assert done.returncode == 78
    assert "channels[1].slack.template: cannot be used: UndefinedError: 'hapened' is undefined — fix: " in done.stderr
