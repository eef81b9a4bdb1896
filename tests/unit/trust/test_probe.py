"""The probe's judgement of answers that a sound STS does not give, and the order of tries and records."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from broker.audit.event import Event
from broker.core.credentials import Credentials
from broker.core.errors import AuditUnavailable, StsDenied, StsError, StsRejected, StsTimeout, StsUnavailable
from broker.core.principal import Principal
from broker.core.roles import Hop, Role, RoleName
from broker.core.secret import Secret
from broker.core.verdict import Verdict
from broker.sts.chain import Call
from broker.trust.finding import Finding
from broker.trust.probe import NAME, Prober
from tests.fakes.audit import NOON
from tests.fakes.trust import DIRECT, MIDDLE, hop, roles

DENIED = StsDenied("no", reason="hop1_access_denied")
ONE = {RoleName("direct"): roles()[RoleName("direct")]}


@dataclass
class Answers:
    """Gives each call the next answer; None for a session. Keeps what was asked and recorded, in order."""

    answers: list[StsError | None]
    seen: list[str] = field(default_factory=list)
    full_after: int = 99

    async def one(self, call: Call, *, by: Credentials | None, place: int) -> Credentials:  # noqa: ARG002  # the port
        self.seen.append("call")
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer
        return Credentials(
            access_key_id="ASIAEXAMPLE000000001",
            secret_access_key=Secret("secret"),
            session_token=Secret("token"),
            expiration=NOON + timedelta(minutes=15),
            account=call.arn.account,
            role_arn=call.arn.text,
        )

    async def record(self, event: Event) -> None:
        if len(self.seen) >= self.full_after:
            raise AuditUnavailable("full")
        self.seen.append(f"{event.kind}:{event.reason}")


async def probed(answers: Answers, wanted: dict[RoleName, Role] = ONE, *, by_token: bool = False) -> list[Finding]:
    return await Prober(sts=answers, audit=answers, by_token=by_token).run(wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error",
    [
        StsTimeout("late", reason="sts_timeout"),
        StsUnavailable("throttled", reason="sts_throttled"),
        StsRejected("html", reason="malformed_answer"),
        StsRejected("another role", reason="other_role"),
    ],
    ids=lambda error: error.reason,
)
@pytest.mark.parametrize("place", [1, 2])
async def test_no_answer_is_never_taken_for_a_refusal(error: StsError, place: int) -> None:
    answers: list[StsError | None] = [None, DENIED, DENIED]
    answers[place] = error
    given = Answers(answers)
    [finding] = await probed(given)
    assert (finding.level, error.reason in finding.what) == (Verdict.UNSEEN, True)
    assert f"refused:{error.reason}" in given.seen


async def test_the_intent_comes_first_and_each_outcome_before_the_next_try() -> None:
    given = Answers([None, None, DENIED])
    await probed(given)
    expected = ["intent:None", "call", "probed:None", "call", "external_id_not_enforced:assumed_without", "call"]
    assert given.seen == [*expected, "probed:None"]


@pytest.mark.parametrize("full_after", [0, 2, 4])
async def test_when_records_cannot_be_written_no_further_try_is_made(full_after: int) -> None:
    given = Answers([None, None, None], full_after=full_after)
    with pytest.raises(AuditUnavailable):
        await probed(given)
    assert len(given.seen) == full_after


async def test_a_hop_without_an_external_id_is_tried_once_and_never_called_good() -> None:
    given = Answers([None])
    bare = Role(RoleName("bare"), (Hop(arn=hop(DIRECT).arn, external_id=None),), timedelta(hours=1))
    [finding] = await probed(given, {bare.name: bare})
    assert (finding.level, finding.what) == (Verdict.WARN, "is assumed without an external ID")


async def test_the_first_hop_of_a_broker_without_keys_needs_no_external_id_and_the_second_does() -> None:
    bare, last = Hop(arn=hop(MIDDLE).arn, external_id=None), Hop(arn=hop(DIRECT).arn, external_id=None)
    role = Role(RoleName("keyless"), (bare, last), timedelta(hours=1))
    first, second = await probed(Answers([None, None]), {role.name: role}, by_token=True)
    assert (first.level, second.level) == (Verdict.OK, Verdict.WARN)


def test_the_name_of_the_probe_is_no_principal_s() -> None:
    assert "@" not in NAME
    assert "==" not in NAME
    for text in ("zerotrust-probe@EXAMPLE.COM", "a" * 200 + "@EXAMPLE.COM"):
        name = Principal.parse(text).session_name()
        assert "@" in name or "==" in name
