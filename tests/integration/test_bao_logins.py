"""Logins by Kerberos and by Kubernetes, as the configuration says them: made by the assembly, tried at a real OpenBao."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from broker.assembly.providers import external
from broker.authn.keytab import AcceptorKeys
from broker.config.secrets import Secrets
from broker.core.clock import SystemClock
from broker.core.secret import Secret
from broker.remote.failure import Refused, Unreachable
from broker.secrets.provider import Provider
from tests.fakes.bao import MOUNT, BaoServer
from tests.fakes.bao_kerberos import KerberosFront
from tests.fakes.certificates import server_certificate
from tests.fakes.docs import vaults_policy
from tests.fakes.kubernetes import FakeKubernetes
from tests.fakes.realm import Realm

NAME = "test-logins"
BROKER = "HTTP/broker.localhost@EXAMPLE.COM"
ACCOUNT = "apps/broker"


@asynccontextmanager
async def provider_of(server: BaoServer, *, keys: AcceptorKeys | None = None, **config: Any) -> AsyncIterator[Provider]:
    """As the section ``secrets`` makes it."""
    place = {"url": server.url, "mount_path": MOUNT, "ca_file": str(server.ca_file), **config}
    section = Secrets.model_validate({"provider": "hashicorp", "config": place})
    made = external(section, keys=keys, base=None, clock=SystemClock())
    assert made is not None
    try:
        yield made.provider
    finally:
        await made.provider.close()


@pytest.fixture
def granting(bao: BaoServer) -> BaoServer:
    bao.policy(NAME, vaults_policy())
    return bao


# ---- Kerberos ----


@pytest.fixture
def keys(realm: Realm, tmp_path: Path) -> AcceptorKeys:
    keytab = realm.keytab(tmp_path / "broker.keytab", "HTTP/broker.localhost")
    return AcceptorKeys([keytab], realms=frozenset({"EXAMPLE.COM"}), hosts=None)


@pytest.fixture
def front(granting: BaoServer, realm: Realm, tmp_path: Path) -> Iterator[KerberosFront]:
    keytab = realm.keytab(tmp_path / "vault.keytab", "HTTP/localhost")
    with KerberosFront(granting, keytab=keytab, policies={BROKER: ["default", NAME]}) as started:
        yield started


async def test_the_brokers_own_keytab_logs_in_by_a_ticket_for_the_vault_and_again_when_the_token_is_gone(
    granting: BaoServer, front: KerberosFront, keys: AcceptorKeys
) -> None:
    async with provider_of(granting, keys=keys, url=front.url, auth_method="kerberos") as provider:
        assert await provider.write("logins/kerberos", {"value": Secret("by ticket")}) >= "1"
        assert (await provider.read("logins/kerberos")).fields["value"].reveal() == "by ticket"
        assert front.logins == [BROKER]
        granting.api("PUT", "auth/token/tidy")
        for accessor in granting.api("LIST", "auth/token/accessors")["data"]["keys"]:
            found = granting.api("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]
            if found["policies"] == ["default", NAME] and found["path"] == "auth/token/create":
                granting.api("POST", "auth/token/revoke-accessor", {"accessor": accessor})
        await provider.write("logins/kerberos", {"value": Secret("again")})
        assert front.logins == [BROKER, BROKER]
    assert front.refusals == []


async def test_a_principal_that_the_vault_knows_nothing_of_is_refused_and_named_to_the_operator(
    granting: BaoServer, realm: Realm, keys: AcceptorKeys, tmp_path: Path
) -> None:
    keytab = realm.keytab(tmp_path / "other.keytab", "HTTP/localhost")
    with KerberosFront(granting, keytab=keytab, policies={}) as stranger:
        async with provider_of(granting, keys=keys, url=stranger.url, auth_method="kerberos") as provider:
            with pytest.raises(Refused, match="keytab and groups") as refusal:
                await provider.read("logins/kerberos")
        assert refusal.value.reason == "login_refused"
        assert stranger.refusals == [f"{BROKER} is in no group with a policy"]


async def test_a_vault_that_the_kdc_does_not_know_is_said_so(granting: BaoServer, keys: AcceptorKeys) -> None:
    elsewhere = granting.url.replace("localhost", "unknown.localhost")
    async with provider_of(granting, keys=keys, url=elsewhere, auth_method="kerberos") as provider:
        with pytest.raises(Unreachable, match=r"no ticket for HTTP/unknown\.localhost@EXAMPLE\.COM"):
            await provider.read("x")


async def test_without_the_brokers_keytab_the_way_is_refused_by_name(granting: BaoServer) -> None:
    async with provider_of(granting, auth_method="kerberos") as provider:
        with pytest.raises(Refused) as refusal:
            await provider.read("x")
    assert refusal.value.reason == "no_keytab"


async def test_openbao_itself_has_no_such_method(bao: BaoServer) -> None:
    with pytest.raises(Exception, match="plugin not found in the catalog: kerberos"):
        bao.api("POST", "sys/auth/kerberos", {"type": "kerberos"})


# ---- Kubernetes ----


@pytest.fixture
def cluster(granting: BaoServer, tmp_path: Path) -> Iterator[FakeKubernetes]:
    certificate = server_certificate(tmp_path / "cluster", "ecdsa-sha256")
    with FakeKubernetes(certificate) as started:
        started.account("apps", "broker")
        started.account("apps", "other")
        started.account("vault", "reviewer")
        started.allow("vault/reviewer", "create", resource="tokenreviews")
        granting.enable("kubernetes")
        place = {"kubernetes_host": started.url, "kubernetes_ca_cert": certificate.pem.decode()}
        reviewer = {"token_reviewer_jwt": started.token("vault/reviewer"), "disable_local_ca_jwt": True}
        granting.api("POST", "auth/kubernetes/config", place | reviewer)
        bound = {"bound_service_account_names": ["broker"], "bound_service_account_namespaces": ["apps"]}
        granting.api("POST", "auth/kubernetes/role/broker", {**bound, "token_policies": [NAME], "token_ttl": "10s"})
        yield started


async def test_the_pods_service_account_logs_in_with_whatever_token_lies_in_its_file_then(
    granting: BaoServer, cluster: FakeKubernetes, tmp_path: Path
) -> None:
    jwt = tmp_path / "token"
    jwt.write_text(cluster.token(ACCOUNT) + "\n")
    way = {"auth_method": "kubernetes", "role": "broker", "service_account_file": str(jwt)}
    async with provider_of(granting, **way) as provider:
        await provider.write("logins/kubernetes", {"value": Secret("by account")})
        assert (await provider.read("logins/kubernetes")).fields["value"].reveal() == "by account"
    # The account is made anew, which ends its tokens; Kubernetes puts a new file in the place of the old one.
    cluster.account("apps", "broker")
    async with provider_of(granting, **way) as provider:
        with pytest.raises(Refused, match="bound service accounts"):
            await provider.read("logins/kubernetes")
        anew = tmp_path / "anew"
        anew.write_text(cluster.token(ACCOUNT))
        anew.replace(jwt)
        assert (await provider.read("logins/kubernetes")).fields["value"].reveal() == "by account"


async def test_another_service_account_and_a_file_that_is_not_there_are_refused(
    granting: BaoServer, cluster: FakeKubernetes, tmp_path: Path
) -> None:
    jwt = tmp_path / "token"
    way = {"auth_method": "kubernetes", "role": "broker", "service_account_file": str(jwt)}
    async with provider_of(granting, **way) as provider:
        with pytest.raises(Refused) as refusal:
            await provider.read("x")
        assert refusal.value.reason == "no_service_account"
        jwt.write_text(cluster.token("apps/other"))
        with pytest.raises(Refused) as refusal:
            await provider.read("x")
        assert refusal.value.reason == "login_refused"
