"""The life of the broker's token in a real OpenBao: renewed, got anew, revoked under us, given back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from broker.core.clock import SystemClock
from broker.core.secret import Secret
from broker.remote.failure import Missing, Refused
from broker.remote.hashicorp import tokens
from broker.remote.hashicorp.login import AppRole, Granted
from broker.remote.hashicorp.vault import Vault
from broker.remote.hashicorp.wire import Wire
from tests.fakes.bao import MOUNT, BaoServer
from tests.fakes.bao_client import approle, vault_of, wire_of
from tests.fakes.docs import vaults_policy
from tests.fakes.until import until

NAME = "test-tokens"
PATH = f"{MOUNT}/data/tokens/x"


class AheadClock(SystemClock):
    """Runs when it is told to."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def boottime(self) -> float:
        return super().boottime() + self.ahead


class Noting(Wire):
    """Counts what is asked."""

    def __init__(self, server: BaoServer) -> None:
        super().__init__(url=server.url, ca_file=server.ca_file, namespace=None, clock=SystemClock())
        self.asked: Counter[str] = Counter()
        self.tokens: list[str] = []
        self.hangs = ""

    async def ask(self, method: str, path: str, *args: Any, **keywords: Any) -> Any:
        self.asked[path] += 1
        if keywords.get("token"):
            self.tokens.append(keywords["token"].reveal())
        if path == self.hangs:
            await asyncio.Event().wait()
        return await super().ask(method, path, *args, **keywords)


class Noted:
    """A vault with its wire and its clock in the test's hands."""

    def __init__(self, server: BaoServer, login: Any) -> None:
        self.clock = AheadClock()
        self.wire = Noting(server)
        self.vault = Vault(wire=self.wire, login=login, clock=self.clock)

    async def read(self) -> Any:
        return (await self.vault.ask("GET", PATH, is_repeatable=True))["data"]["data"]

    @property
    def logins(self) -> int:
        return self.wire.asked["auth/approle/login"]

    @property
    def renewals(self) -> int:
        return self.wire.asked["auth/token/renew-self"]


@pytest.fixture
def granted(bao: BaoServer) -> BaoServer:
    bao.policy(NAME, vaults_policy())
    bao.api("POST", PATH, {"data": {"value": "1"}})
    return bao


async def test_many_who_ask_at_once_share_one_login(granted: BaoServer) -> None:
    noted = Noted(granted, approle(granted, NAME, NAME))
    assert await asyncio.gather(*(noted.read() for _ in range(20))) == [{"value": "1"}] * 20
    assert noted.logins == 1
    await noted.vault.close()


async def test_a_token_that_is_used_is_renewed_and_lives_on_past_its_first_time(granted: BaoServer) -> None:
    noted = Noted(granted, approle(granted, f"{NAME}-renewed", NAME, token_ttl="2s", token_max_ttl="1h"))
    async with asyncio.timeout(30):
        for _ in range(18):
            assert await noted.read() == {"value": "1"}
            await asyncio.sleep(0.2)
    assert noted.renewals >= 1
    assert len(set(noted.wire.tokens)) == noted.logins
    await noted.vault.close()


async def test_an_idle_token_is_kept_alive_by_renewing_alone(granted: BaoServer) -> None:
    token = granted.token(NAME, "default", period="4s")
    async with vault_of(granted, token) as vault:
        keeping = asyncio.create_task(vault.keep_logged_in())
        await asyncio.sleep(5)
        assert granted.api("GET", "auth/token/lookup-self", token=token)["data"]["ttl"] > 0
        assert await vault.ask("GET", PATH, is_repeatable=True)
        keeping.cancel()


async def test_where_renewing_comes_near_the_longest_life_a_new_login_follows_before_the_end(
    granted: BaoServer,
) -> None:
    noted = Noted(granted, approle(granted, f"{NAME}-max", NAME, token_ttl="60s", token_max_ttl="70s"))
    await noted.read()
    noted.clock.ahead = 40.0  # Renewed in the vault's eyes at once, up to 70 s: near enough to 60 s.
    await noted.read()
    assert (noted.logins, noted.renewals) == (1, 1)
    await noted.vault.close()

    noted = Noted(granted, approle(granted, f"{NAME}-end", NAME, token_ttl="60s"))
    await noted.read()
    shorter = {"token_policies": [NAME], "token_ttl": "20s", "token_max_ttl": "20s"}
    granted.api("POST", f"auth/approle/role/{NAME}-end", shorter)
    noted.clock.ahead = 40.0
    await noted.read()
    assert (noted.logins, noted.renewals) == (2, 1)
    assert len(set(noted.wire.tokens)) == 2
    await noted.vault.close()


async def test_while_a_renewal_hangs_everybody_else_goes_on_with_the_token_that_lasts(granted: BaoServer) -> None:
    noted = Noted(granted, approle(granted, f"{NAME}-hangs", NAME, token_ttl="1h"))
    await noted.read()
    noted.wire.hangs, noted.clock.ahead = "auth/token/renew-self", 3000.0
    first = asyncio.create_task(noted.read())
    await until(lambda: noted.renewals > 0)
    assert await asyncio.gather(*(noted.read() for _ in range(5))) == [{"value": "1"}] * 5
    assert not first.done()
    first.cancel()
    await noted.vault.close()


async def test_a_login_that_hangs_is_given_up_and_the_loop_that_keeps_the_token_tries_again(
    granted: BaoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_LOGIN_AT_MOST", 0.3)
    noted = Noted(granted, approle(granted, f"{NAME}-loop", NAME))
    noted.wire.hangs = "auth/approle/login"
    keeping = asyncio.create_task(noted.vault.keep_logged_in())
    await until(lambda: noted.logins > 1)
    noted.wire.hangs = ""
    assert await noted.read() == {"value": "1"}
    keeping.cancel()
    await noted.vault.close()


async def test_a_token_that_cannot_be_renewed_is_replaced_before_it_ends(granted: BaoServer) -> None:
    noted = Noted(granted, approle(granted, f"{NAME}-batch", NAME, token_type="batch", token_ttl="1h"))
    await noted.read()
    noted.clock.ahead = 3000.0
    await noted.read()
    assert (noted.logins, noted.renewals) == (2, 0)
    await noted.vault.close()


async def test_a_token_revoked_under_us_costs_one_login_and_one_repetition(granted: BaoServer) -> None:
    noted = Noted(granted, approle(granted, NAME, NAME))
    await noted.read()
    granted.api("POST", "auth/token/revoke", {"token": noted.wire.tokens[-1]})
    noted.wire.asked.clear()
    assert await asyncio.gather(*(noted.read() for _ in range(5))) == [{"value": "1"}] * 5
    assert noted.logins == 1
    written = await noted.vault.ask("POST", PATH, {"data": {"value": "2"}}, is_repeatable=False)
    assert written["data"]["version"] > 1
    await noted.vault.close()


async def test_a_role_taken_away_under_us_is_a_clear_refusal_after_one_try(granted: BaoServer) -> None:
    noted = Noted(granted, approle(granted, f"{NAME}-gone", NAME))
    await noted.read()
    granted.api("DELETE", f"auth/approle/role/{NAME}-gone")
    granted.api("POST", "auth/token/revoke", {"token": noted.wire.tokens[-1]})
    noted.wire.asked.clear()
    with pytest.raises(Refused, match="role_id and secret_id") as refusal:
        await noted.read()
    assert (refusal.value.reason, noted.logins) == ("login_refused", 1)
    await noted.vault.close()


async def test_a_policy_that_refuses_makes_no_login_of_every_request(granted: BaoServer) -> None:
    noted = Noted(granted, approle(granted, f"{NAME}-poor", "default"))
    for _ in range(3):
        with pytest.raises(Refused) as refusal:
            await noted.read()
        assert refusal.value.reason == "denied"
    assert (noted.logins, noted.wire.asked[PATH]) == (1, 3)
    await noted.vault.close()


@pytest.mark.parametrize("wrong", ["role_id", "secret_id"])
async def test_a_wrong_role_or_secret_id_is_a_clear_refusal_that_shows_neither(granted: BaoServer, wrong: str) -> None:
    right = approle(granted, NAME, NAME)
    ids = {"role_id": right.role_id, "secret_id": right.secret_id, wrong: "canary-0000"}
    login = AppRole(str(ids["role_id"]), Secret("canary-0000") if wrong == "secret_id" else right.secret_id)
    async with vault_of(granted, login) as vault:
        with pytest.raises(Refused, match="check role_id and secret_id") as refusal:
            await vault.ask("GET", PATH, is_repeatable=True)
        assert refusal.value.reason == "login_refused"
        assert "canary" not in f"{refusal.value!r}{refusal.value}{login.secret_id!r}"
        assert "check role_id" in str(await vault.ping())


async def test_a_given_token_that_has_ended_says_what_to_do(granted: BaoServer) -> None:
    token = granted.token(NAME, "default", ttl="1h")
    async with vault_of(granted, token) as vault:
        assert await vault.ask("GET", PATH, is_repeatable=True)
        granted.api("POST", "auth/token/revoke", {"token": token})
        with pytest.raises(Refused, match=r"secrets\.config\.token") as refusal:
            await vault.ask("GET", PATH, is_repeatable=True)
        assert refusal.value.reason == "token_refused"


async def test_a_token_that_the_broker_got_is_revoked_at_its_end_and_one_that_it_was_given_is_not(
    granted: BaoServer,
) -> None:
    noted = Noted(granted, approle(granted, NAME, NAME))
    await noted.read()
    (own,) = set(noted.wire.tokens)
    await noted.vault.close()
    with pytest.raises(Exception, match="403"):
        granted.api("GET", "auth/token/lookup-self", token=own)

    given = granted.token(NAME, "default", ttl="1h")
    async with vault_of(granted, given) as vault:
        await vault.ask("GET", PATH, is_repeatable=True)
    assert granted.api("GET", "auth/token/lookup-self", token=given)


async def test_who_waits_for_a_login_does_not_wait_for_one_that_was_given_up(granted: BaoServer) -> None:
    right = approle(granted, NAME, NAME)
    hangs = asyncio.Event()

    class Once:
        is_own = True
        log_in: Callable[[Wire], Awaitable[Granted]]

        async def log_in(self, wire: Wire) -> Granted:  # type: ignore[no-redef]
            if not hangs.is_set():
                hangs.set()
                await asyncio.Event().wait()
            return await right.log_in(wire)

    vault = Vault(wire=wire_of(granted), login=Once(), clock=SystemClock())
    first = asyncio.create_task(vault.ask("GET", PATH, is_repeatable=True))
    await hangs.wait()
    second = asyncio.create_task(vault.ask("GET", PATH, is_repeatable=True))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second)["data"]["data"]
    await vault.close()


async def test_what_vault_variables_and_netrc_say_changes_nothing(
    granted: BaoServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("VAULT_ADDR", "BAO_ADDR", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("VAULT_TOKEN", "VAULT_NAMESPACE", "VAULT_CACERT", "REQUESTS_CA_BUNDLE", "VAULT_CLIENT_CERT"):
        monkeypatch.setenv(name, "nonsense")
    (tmp_path / ".vault-token").write_text("nonsense")
    (tmp_path / ".netrc").write_text("machine localhost login a password b\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    noted = Noted(granted, approle(granted, NAME, NAME))
    assert await noted.read()
    with pytest.raises(Missing):
        await noted.vault.ask("GET", f"{MOUNT}/data/tokens/none", is_repeatable=True)
    await noted.vault.close()
