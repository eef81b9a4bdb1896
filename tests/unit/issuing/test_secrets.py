"""The one way to a secret, before a vault that does what each test wants: the order of its steps, and how vaults fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from broker.authn.dpop import ProofGuard
from broker.authn.signature import Signatures
from broker.authz.policies import Policies
from broker.authz.policy import Policy
from broker.core.errors import (
    AccessDenied,
    AuditUnavailable,
    AuthFailed,
    AuthRequired,
    BadRequest,
    BrokerError,
    PassRefused,
    Revoked,
    SecretNotFound,
    SecretsRejected,
    SecretsUnavailable,
    SignatureRefused,
    VersionConflict,
)
from broker.core.pattern import PrincipalPattern
from broker.core.rule import Requirements
from broker.core.secret import Secret
from broker.core.secret_path import PathPattern
from broker.core.secret_rule import Action, SecretRule
from broker.issuing.ask import Ask
from broker.issuing.secrets import SecretDesk, Wanted
from broker.remote.failure import Conflict, Malformed, Missing, Refused, RemoteFailure, Unreachable
from broker.revocation.holds import Holds
from broker.revocation.ledger import EVERY_ROLE, Kind, Subject
from broker.secrets.provider import Version
from broker.secrets.unfit import Archived, Expired, Unfit
from broker.wire_secrets import Writing
from tests.unit.issuing.test_issue import House, token_for

HOLD = Subject(Kind.CREDENTIALS, "alice@R", EVERY_ROLE)
CANARY = "canary-value"
DB = Wanted("team-a/db")
NEW = Writing(fields={"value": CANARY}, generate={}, cas=None, described=None)


class SomebodysVault:
    """What stands behind the port; writes down when it was asked, in the house's diary."""

    def __init__(self, diary: list[str]) -> None:
        self._diary = diary
        self.failure: RemoteFailure | None = None
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        self.paths: Sequence[str] = ()

    async def _asked(self, what: str) -> None:
        self._diary.append(f"vault {what}")
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.failure is not None:
            raise self.failure

    async def read(self, path: str, *, version: str | None = None) -> Version:
        await self._asked(f"read {path}")
        return Version(fields={"value": Secret(CANARY)}, number=version or "7")

    async def write(self, path: str, fields: Mapping[str, Secret], *, cas: int | None = None) -> str:
        await self._asked(f"write {path} {sorted(fields)} {cas}")
        return "8"

    async def delete(self, path: str) -> None:
        await self._asked(f"delete {path}")

    async def list(self, prefix: str) -> Sequence[str]:
        await self._asked(f"list {prefix}")
        return self.paths

    async def ping(self) -> str | None:
        return None

    async def close(self) -> None:
        return


class Vaulted(House):
    """A house with a desk."""

    def __init__(self) -> None:
        super().__init__()
        self.vault = SomebodysVault(self.diary)
        self.signed = Signatures(
            keys=[], required=False, proofs=ProofGuard(shared=None, clock=self.clock), clock=self.clock
        )
        rule = SecretRule(
            name="team-a",
            principals=(PrincipalPattern.parse("alice@R"),),
            groups=(),
            networks=(),
            require=Requirements(),
            paths=(PathPattern.parse("team-a/**"),),
            actions=frozenset(Action),
        )
        self.holds = Holds(epochs=self.epochs)
        self.desk = SecretDesk(
            entrance=self.issuer._entrance,
            policies=Policies(Policy(roles={}, secret_rules=[rule])),
            holds=self.holds,
            signatures=self.signed,
            provider=self.vault,
            vault=None,
            clock=self.clock,
        )

    def alice(self) -> Ask:
        return self.asking(authorization=token_for("alice@R"))


@pytest.fixture
async def house() -> Vaulted:
    return Vaulted()


async def test_a_read_is_recorded_after_the_vault_and_before_the_answer(house: Vaulted) -> None:
    found = await house.desk.read(house.alice(), DB)
    assert found.number == "7"
    assert house.diary == ["vault read team-a/db", "secret_access"]
    event = house.audit.events[-1]
    assert (event.action, event.resource, event.success, event.details) == (
        "read",
        "team-a/db",
        True,
        {"via": "ticket", "rule": "team-a", "version": "7"},
    )


async def test_a_change_is_on_record_before_the_vault_is_asked_and_after(house: Vaulted) -> None:
    assert await house.desk.write(house.alice(), DB, NEW) == "8"
    assert house.diary == ["intent", "vault write team-a/db ['value'] None", "secret_access"]
    house.diary.clear()
    await house.desk.delete(house.alice(), DB)
    assert house.diary == ["intent", "vault delete team-a/db", "secret_access"]


async def test_without_a_record_no_value_leaves_and_nothing_is_changed(house: Vaulted) -> None:
    house.audit.broken = lambda _: True
    with pytest.raises(AuditUnavailable):
        await house.desk.read(house.alice(), DB)
    house.diary.clear()
    with pytest.raises(AuditUnavailable):
        await house.desk.write(house.alice(), DB, NEW)
    assert house.diary == [], "the vault was asked for nothing"


async def test_no_record_holds_a_value_or_the_name_of_a_field(house: Vaulted) -> None:
    name = "field-canary"
    await house.desk.write(house.alice(), DB, Writing(fields={name: CANARY}, generate={}, cas=None, described=None))
    await house.desk.read(house.alice(), DB)
    for event in house.audit.events:
        assert "canary" not in repr(event)


@pytest.mark.parametrize("who", ["mallory@R", "alice@S"])
async def test_for_whom_no_rule_speaks_the_vault_is_not_asked(house: Vaulted, who: str) -> None:
    for asked in (house.desk.read, house.desk.delete, house.desk.listing):
        with pytest.raises(AccessDenied):
            await asked(house.asking(authorization=token_for(who)), DB)
    assert house.diary == ["secret_access"] * 3
    assert {event.reason for event in house.audit.events} == {"no_secret_rule"}


@pytest.mark.parametrize("path", ["team-a/../x", "team-a//db", "", "team-a/" + "x" * 256, "team-a/\n"])
async def test_a_path_that_is_none_is_told_before_any_rule_is_asked_and_never_reaches_the_vault(
    house: Vaulted, path: str
) -> None:
    for who in ("alice@R", "mallory@R"):
        with pytest.raises(BadRequest):
            await house.desk.read(house.asking(authorization=token_for(who)), Wanted(path))
    assert house.diary == ["secret_access"] * 2
    assert all(event.resource.isprintable() or not path for event in house.audit.events)
    assert max(len(event.resource) for event in house.audit.events) <= 257


FAILURES: list[tuple[RemoteFailure, type[BrokerError], str]] = [
    (Missing("gone", reason="not_found"), SecretNotFound, "secret_not_found"),
    (Missing("gone", reason="deleted"), SecretNotFound, "secret_deleted"),
    (Expired("old", reason="expired"), SecretNotFound, "secret_expired"),
    (Archived("away", reason="archived"), SecretNotFound, "secret_archived"),
    (Unfit("too long — fix: split", reason="unfit_value"), BadRequest, "secret_unfit_value"),
    (Conflict("other", reason="cas_mismatch"), VersionConflict, "secret_cas_mismatch"),
    (Unreachable("sealed at https://vault", reason="sealed"), SecretsUnavailable, "secret_sealed"),
    (Refused("no", reason="cas_unsupported"), SecretsRejected, "secret_cas_unsupported"),
    (Malformed("what", reason="odd"), SecretsRejected, "secret_odd"),
]


@pytest.mark.parametrize(("failure", "error", "reason"), FAILURES, ids=lambda one: getattr(one, "reason", None))
async def test_each_failure_of_a_vault_is_one_of_ours_with_its_own_reason_on_record(
    house: Vaulted, failure: RemoteFailure, error: type[BrokerError], reason: str
) -> None:
    house.vault.failure = failure
    with pytest.raises(error) as caught:
        await house.desk.read(house.alice(), DB)
    event = house.audit.events[-1]
    assert (event.kind, event.success, event.reason) == ("secret_access", False, reason)
    assert "https://vault" not in (caught.value.hint or "")


async def test_what_another_s_vault_cannot_do_is_said_before_anything_is_done(house: Vaulted) -> None:
    attempts: Sequence[Callable[[], Awaitable[Any]]] = (
        lambda: house.desk.metadata(house.alice(), DB),
        lambda: house.desk.destroy(house.alice(), DB, versions=[1]),
        lambda: house.desk.undelete(house.alice(), DB, versions=None),
        lambda: house.desk.delete(house.alice(), DB, versions=[1]),
        lambda: house.desk.due(house.alice(), Wanted("")),
    )
    for attempt in attempts:
        with pytest.raises(SecretsRejected) as caught:
            await attempt()
        assert "use its own tools" in (caught.value.hint or "")
    assert house.diary == ["secret_access"] * len(attempts)


async def test_a_list_shows_what_the_rules_let_see_whatever_the_vault_takes_for_a_prefix(house: Vaulted) -> None:
    house.vault.paths = ["team-a/x/1", "team-a/xy/2", "team-b/x/3", "team-a/x"]
    assert await house.desk.listing(house.alice(), Wanted("team-a/x")) == ["team-a/x/1"]
    assert await house.desk.listing(house.alice(), Wanted("")) == ["team-a/x/1", "team-a/xy/2", "team-a/x"]


# ---- who is revoked or held ----


async def test_who_is_revoked_while_the_vault_works_gets_no_value(house: Vaulted) -> None:
    house.vault.meanwhile = lambda: house.epochs.enter([HOLD], by="root/admin@R")
    with pytest.raises(Revoked):
        await house.desk.read(house.alice(), DB)
    assert (house.audit.events[-1].success, house.audit.events[-1].reason) == (False, "revoked")


async def test_what_was_changed_is_recorded_as_changed_though_its_maker_was_revoked_meanwhile(house: Vaulted) -> None:
    house.vault.meanwhile = lambda: house.epochs.enter([HOLD], by="root/admin@R")
    assert await house.desk.write(house.alice(), DB, NEW) == "8"
    assert (house.audit.events[-1].kind, house.audit.events[-1].success) == ("secret_access", True)
    with pytest.raises(Revoked):
        await house.desk.write(house.alice(), DB, NEW)


async def test_a_ticket_counts_once(house: Vaulted) -> None:
    ask = house.alice()
    await house.desk.read(ask, DB)
    with pytest.raises(AuthFailed):
        await house.desk.read(ask, DB)


# ---- by which way ----


async def test_a_browser_s_cookie_opens_no_secret(house: Vaulted) -> None:
    standing = await house.overviews.of(house.alice())
    assert standing.cookie is not None
    house.diary.clear()
    with pytest.raises(AuthRequired):
        await house.desk.read(house.asking(cookie=standing.cookie.value.reveal()), DB)
    assert house.diary == []


async def test_a_job_pass_fetches_its_role_and_no_secret(house: Vaulted) -> None:
    with pytest.raises(PassRefused):
        await house.desk.read(house.asking(authorization="ztpass_" + "A" * 40), DB)


async def test_where_requests_must_be_signed_an_unsigned_one_reaches_no_vault(house: Vaulted) -> None:
    house.signed.required = True
    with pytest.raises(SignatureRefused):
        await house.desk.read(house.alice(), DB)
    assert house.diary == ["secret_access"]
    assert house.audit.events[-1].reason == "signature_missing"
