"""Verdicts are made of facts: each check can pass, can fail, and says *not covered* where it knows nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from broker.audit.event import Kind
from broker.reports import checks
from broker.reports.answer import Verdict
from broker.reports.facts import Facts, KeyAge, Log, RoleFacts, RuleFacts, Setup, Verified
from broker.reports.report import make
from broker.reports.standards import STANDARDS
from broker.reports.statistics import Statistics
from tests.fakes.audit import Log as Chain

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NOTHING = Facts(as_of=NOW, since=None, log=Log())
SETUP = Setup(
    tls_minimum="TLSv1.2",
    tls_ciphers=("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",),
    listeners=("https://0.0.0.0:8443",),
    allowed_networks=True,
    rate_limits=("each principal: 60/minute",),
    replay_guard="shared",
    channel_binding="require",
    roles=(RoleFacts("developer", "111122223333", timedelta(hours=1), unguarded=()),),
    rules=(RuleFacts("engineers", ("developer",), (), ("otp",), networks=True, approvals=1, break_glass=True),),
    aws_credentials="web_identity",
    allowed_accounts=("111122223333",),
    redis="over TLS",
    operators=("root/admin@EXAMPLE.COM",),
    operators_sign=True,
    operators_indicators=("pkinit",),
    session_lifetimes={"a browser's session": timedelta(hours=10)},
    sinks=("syslog",),
    witnesses=("https://witness.example.org",),
    channels=("email",),
    aws_revocation=True,
    audit_kid="kid-1",
)


def log_of(*chains: Chain, **period: Any) -> Log:
    statistics = Statistics(since=period.get("since"), until=period.get("until"))
    for chain in chains:
        statistics.add_all(line + b"\n" for line in chain.lines)
    return statistics.log


def quiet() -> Chain:
    """An intent, what it brought, a refusal, a revocation that everybody heard, a notification."""
    nothing = {"access_key_id": None, "expiration": None, "origin": None}
    log = Chain().add(kind=Kind.INTENT, request_id="one", **nothing).add(request_id="one").add(3, origin="cache")
    log.add(kind=Kind.REFUSED, success=False, reason="no_rule", **nothing)
    return log.add(kind=Kind.REVOKED, details={"revocation_told": True, "revocation_not_heard": []}, **nothing)


def good() -> Facts:
    log = log_of(quiet())
    log.events |= {"notified": 2, "config_reloaded": 1, "break_glass": 1, "review_closed": 1}
    log.notable.append({"timestamp": "2026-02-01T00:00:00Z", "event": "config_reloaded"})
    log.keys["kid-1"] = "2026-02-01T00:00:00Z"
    verified = Verified(records=log.records, checkpoints=1, findings=())
    keys = (KeyAge("TLS certificate", since=NOW - timedelta(days=9), until=NOW + timedelta(days=9), source="it"),)
    return Facts(as_of=NOW, since=None, log=log, setup=SETUP, verified=verified, keys=keys, restored=verified)


ALL = {check for standard in STANDARDS.values() for control in standard.controls for check in control.checks}
# Nobody but the time service can say that a clock is right.
NEVER_PASSES = {checks.clocks}
# What is true of every broker, whatever its configuration.
CANNOT_FAIL = {checks.encrypted_in_transit, checks.encrypted_at_rest, checks.replay, checks.sessions_end}
ONLY_OPEN = {checks.approvals, checks.boundary, checks.no_keys_at_rest, checks.denials, checks.changes, checks.kept}


def _setup(**changes: Any) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, setup=replace(SETUP, **changes))


def _log(**changes: Any) -> Callable[[Facts], Facts]:
    def bend(facts: Facts) -> Facts:
        for name, value in changes.items():
            setattr(facts.log, name, value)
        return facts

    return bend


RULE, ROLE = SETUP.rules[0], SETUP.roles[0]
BAD = Verified(records=1, checkpoints=1, findings=("first bad sequence number 1",))
FAILURES: dict[checks.Check, Callable[[Facts], Facts]] = {
    checks.named_users: _log(without_name=1),
    checks.least_privilege: _setup(rules=(replace(RULE, everybody_of=("EXAMPLE.COM",)),)),
    checks.stronger_than_a_password: _setup(rules=(replace(RULE, indicators=()),)),
    checks.strong_operators: _setup(operators_sign=False, operators_indicators=()),
    checks.emergency_access: lambda facts: replace(facts, log=replace(facts.log, events={"break_glass": 1})),
    checks.brute_force: _setup(rate_limits=()),
    checks.short_lived: _log(longest_life=timedelta(hours=2)),
    checks.cross_account: _setup(roles=(replace(ROLE, unguarded=("arn:aws:iam::111122223333:role/Developer",)),)),
    checks.accounts_limited: _setup(allowed_accounts=()),
    checks.key_ages: _log(keys={"kid-1": "2025-06-01T00:00:00Z"}),
    checks.recorded: _log(without_intent=1),
    checks.record_contents: _log(incomplete=1),
    checks.untampered: lambda facts: replace(facts, verified=BAD),
    checks.copied_elsewhere: _setup(sinks=(), witnesses=()),
    checks.clocks: _log(clock_went_back=1),
    checks.watched: _setup(channels=(), sinks=()),
    checks.nothing_alarming: lambda facts: replace(facts, log=replace(facts.log, events={"cache_tamper": 1})),
    checks.told: lambda facts: replace(facts, log=replace(facts.log, events={"notification_failed": 1})),
    checks.revocable: _log(revocations_unheard=1),
    checks.restorable: lambda facts: replace(facts, restored=BAD),
    checks.secrets_restorable: lambda facts: replace(facts, log=replace(facts.log, events={"secrets_backup_bad": 1})),
}


def test_every_check_of_a_standard_is_tried_here() -> None:
    assert set(FAILURES) | CANNOT_FAIL | ONLY_OPEN >= ALL


@pytest.mark.parametrize("check", sorted(ALL, key=lambda check: check.__name__), ids=lambda check: check.__name__)
def test_a_check_passes_on_good_facts_and_never_on_none(check: checks.Check) -> None:
    assert check(good()).verdict is (Verdict.NOT_COVERED if check in NEVER_PASSES else Verdict.PASS)
    assert check(NOTHING).verdict is Verdict.NOT_COVERED


@pytest.mark.parametrize("check", FAILURES, ids=lambda check: check.__name__)
def test_a_check_fails_where_its_promise_is_broken(check: checks.Check) -> None:
    assert check(FAILURES[check](good())).verdict is Verdict.FAIL


def test_one_failure_fails_a_control_and_a_pass_needs_all_of_it() -> None:
    report = make("soc2", replace(good(), setup=replace(SETUP, channels=(), sinks=())))
    found = {finding.control.number: finding.verdict for finding in report.findings}
    assert found["CC7.2"] is Verdict.FAIL
    assert found["CC6.3"] is Verdict.PASS
    assert found["CC8.1"] is Verdict.NOT_COVERED, "what is the organisation's is no pass"
    assert found["CC6.4"] is Verdict.NOT_COVERED


def test_credentials_without_an_intent_before_them_are_counted() -> None:
    assert log_of(quiet()).without_intent == 0
    assert log_of(Chain().add(request_id="never announced")).without_intent == 1
    assert log_of(Chain().add(5, origin="cache")).without_intent == 0


def test_only_the_period_counts_but_keys_and_chains_are_older() -> None:
    log = log_of(Chain().add(5), since=datetime(2026, 1, 31, 12, 0, 3, 200000, tzinfo=UTC))
    assert (log.records, log.first) == (2, "2026-01-31T12:00:04Z")
    assert list(log.keys.values()) == ["2026-01-31T12:00:01.123456Z"]
    assert not log.begins_late


def test_a_log_whose_beginning_is_gone_says_where_it_begins() -> None:
    chain = Chain().add(5)
    del chain.lines[:2]
    assert log_of(chain).begins_late == {"host-1": 3}
    assert checks.kept(replace(NOTHING, log=log_of(chain))).verdict is Verdict.NOT_COVERED


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]\n", b"null\n", b'{"timestamp": 1}\n', b'{"timestamp": "2026-01-01"}\n', b"\xff\n"]
)
def test_what_is_no_record_is_counted_and_stops_nothing(line: bytes) -> None:
    statistics = Statistics(since=None, until=None)
    statistics.add_all([line, *(kept + b"\n" for kept in quiet().lines)])
    assert (statistics.log.incomplete, statistics.log.records) == (1, len(quiet().lines))


def test_a_record_that_does_not_say_where_from_is_incomplete() -> None:
    record = orjson.loads(quiet().lines[0])
    del record["source_ip"]
    statistics = Statistics(since=None, until=None)
    statistics.add_all([orjson.dumps(record)])
    assert statistics.log.incomplete == 1
