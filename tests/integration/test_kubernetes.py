"""Kubernetes as a vault: the provider against an API server that refuses what the real one refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from broker.core.secret import Secret
from broker.remote.failure import Conflict, Malformed, Missing, Refused, Unreachable
from broker.remote.kubernetes import Cluster, token_of_file
from broker.secrets.providers.kubernetes import KubernetesProvider, name_of
from tests.fakes.certificates import ServerCertificate, server_certificate
from tests.fakes.kubernetes import AUDIENCE, FakeKubernetes

BROKER = "vaults/broker"
LONG = "Deep/" * 40 + "end"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    return server_certificate(tmp_path_factory.mktemp("kubernetes"), "ecdsa-sha256")


@pytest.fixture
def cluster(certificate: ServerCertificate) -> Iterator[FakeKubernetes]:
    with FakeKubernetes(certificate) as fake:
        fake.account("vaults", "broker")
        fake.allow(BROKER, "get", "list", "create", "update", "delete")
        yield fake


@pytest.fixture
def token_file(cluster: FakeKubernetes, tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(cluster.token(BROKER))
    return path


@pytest.fixture
def mounted(token_file: Path) -> Callable[[str | None], object]:
    """What the kubelet does with the file, now and then."""

    def mount(token: str | None) -> None:
        token_file.unlink()
        if token is not None:
            token_file.write_text(token + "\n")

    return mount


@pytest.fixture
async def client(cluster: FakeKubernetes, token_file: Path) -> AsyncIterator[Cluster]:
    made = Cluster(url=cluster.url, token=token_of_file(token_file), ca_file=str(cluster.certificate.certificate))
    yield made
    await made.close()


@pytest.fixture
def vault(client: Cluster) -> KubernetesProvider:
    return KubernetesProvider(cluster=client, namespace="vaults")


def fields(**values: str) -> dict[str, Secret]:
    return {name: Secret(value) for name, value in values.items()}


async def test_what_is_written_is_read_and_listed_under_its_own_path(vault: KubernetesProvider) -> None:
    for path in ("db/prod-eu", "DB/Prod", "db/prod", LONG):
        await vault.write(path, fields(password=f"of {path}", **{"ü/x": "é"}))
    assert (await vault.read(LONG)).fields["password"].reveal() == f"of {LONG}"
    found = await vault.read("DB/Prod")
    assert found.fields["password"].reveal() == "of DB/Prod"
    assert found.fields["ü/x"].reveal() == "é"
    assert found.made is not None
    assert await vault.list("db") == ["db/prod", "db/prod-eu"]
    assert await vault.list("") == sorted(["db/prod-eu", "DB/Prod", "db/prod", LONG])
    assert await vault.list("d") == []


async def test_a_list_is_read_to_its_end_and_holds_nothing_of_other_types(
    vault: KubernetesProvider, client: Cluster, cluster: FakeKubernetes
) -> None:
    for number in range(40):
        await client.create("vaults", f"n{number:02}", {"value": b"1"})
    cluster.objects[("vaults", "release")] = cluster.objects[("vaults", "n00")] | {"type": "helm.sh/release.v1"}
    await client.create("vaults", "max-has-a-name-no-path-has", {"value": b"1"})
    assert await vault.list("") == [f"n{number:02}" for number in range(40)]


async def test_a_secret_is_changed_only_in_the_version_that_the_caller_knows(vault: KubernetesProvider) -> None:
    first = await vault.write("app", fields(value="1"), cas=0)
    with pytest.raises(Conflict):
        await vault.write("app", fields(value="2"), cas=0)
    second = await vault.write("app", fields(value="2"), cas=int(first))
    with pytest.raises(Conflict):
        await vault.write("app", fields(value="3"), cas=int(first))
    with pytest.raises(Conflict):
        await vault.write("other", fields(value="3"), cas=int(first))
    found = await vault.read("app")
    assert (found.number, found.fields["value"].reveal()) == (second, "2")
    with pytest.raises(Missing):
        await vault.read("app", version=first)
    assert (await vault.read("app", version=second)).number == second


async def test_who_writes_between_our_reading_and_our_writing_is_not_overwritten(
    vault: KubernetesProvider, cluster: FakeKubernetes
) -> None:
    number = await vault.write("app", fields(value="1"))

    def another_writer(method: str, path: str) -> None:
        if method == "PUT":
            cluster.before = lambda _method, _path: None
            cluster.objects[("vaults", "app")]["metadata"]["resourceVersion"] = "99999"

    cluster.before = another_writer
    with pytest.raises(Conflict):
        await vault.write("app", fields(value="2"), cas=int(number))
    assert cluster.text("vaults", "app", "value") == "1"
    cluster.before = another_writer
    await vault.write("app", fields(value="3"))
    assert cluster.text("vaults", "app", "value") == "3"


async def test_labels_and_annotations_of_others_outlive_a_write(
    vault: KubernetesProvider, client: Cluster, cluster: FakeKubernetes
) -> None:
    await client.create("vaults", "app", {"value": b"1"}, labels={"team": "a"}, annotations={"note": "b"})
    await vault.write("app", fields(value="2"))
    assert cluster.objects[("vaults", "app")]["metadata"]["labels"] == {"team": "a"}
    assert cluster.objects[("vaults", "app")]["metadata"]["annotations"] == {"note": "b"}


async def test_a_deleted_secret_is_missing(vault: KubernetesProvider) -> None:
    await vault.write("app", fields(value="1"))
    await vault.delete("app")
    for act in (vault.read("app"), vault.delete("app")):
        with pytest.raises(Missing):
            await act


async def test_somebody_elses_secret_under_the_hash_of_a_path_is_not_handed_out(
    vault: KubernetesProvider, client: Cluster
) -> None:
    await client.create("vaults", name_of(LONG), {"value": b"planted"})
    with pytest.raises(Malformed):
        await vault.read(LONG)
    with pytest.raises(Malformed):
        await vault.delete(LONG)
    assert await vault.list("") == []


async def test_a_value_that_is_no_text_is_not_handed_out(vault: KubernetesProvider, client: Cluster) -> None:
    await client.create("vaults", "app", {"value": b"\xff\xfe"})
    with pytest.raises(Malformed):
        await vault.read("app")


async def test_more_than_a_mebibyte_is_refused_before_it_is_sent(
    vault: KubernetesProvider, cluster: FakeKubernetes
) -> None:
    with pytest.raises(Refused) as refused:
        await vault.write("app", fields(value="x" * (1024 * 1024 + 1)))
    assert refused.value.reason == "too_large"
    assert cluster.objects == {}


async def test_a_token_that_was_replaced_is_used_from_the_next_request_on(
    vault: KubernetesProvider, cluster: FakeKubernetes, mounted: Callable[[str | None], object]
) -> None:
    await vault.write("app", fields(value="1"))
    cluster.skew = 2 * 3600
    with pytest.raises(Refused) as refused:
        await vault.read("app")
    assert refused.value.reason == "token_refused"
    mounted(cluster.token(BROKER))
    assert (await vault.read("app")).fields["value"].reveal() == "1"
    mounted(None)
    with pytest.raises(Refused) as refused:
        await vault.read("app")
    assert refused.value.reason == "no_token"


async def test_a_token_for_another_audience_is_refused(
    vault: KubernetesProvider, cluster: FakeKubernetes, mounted: Callable[[str | None], object]
) -> None:
    mounted(cluster.token(BROKER, audience="vault"))
    with pytest.raises(Refused):
        await vault.read("app")


async def test_what_rbac_does_not_allow_is_refused_and_the_ping_says_so(
    vault: KubernetesProvider, cluster: FakeKubernetes
) -> None:
    assert await vault.ping() is None
    cluster.rules.clear()
    cluster.allow(BROKER, "get")
    with pytest.raises(Refused) as refused:
        await vault.write("app", fields(value="1"))
    assert refused.value.reason == "not_permitted"
    assert "may not" in (await vault.ping() or "")


async def test_a_short_life_token_is_made_for_one_audience_and_reviewed(
    client: Cluster, cluster: FakeKubernetes
) -> None:
    cluster.account("vaults", "app")
    cluster.allow(BROKER, "create", resource="serviceaccounts/token", names={"app"})
    cluster.allow(BROKER, "create", resource="tokenreviews")
    token = await client.request_token("vaults", "app", audience="vault")
    assert (await client.review_token(token, audiences=["vault"])).username == "system:serviceaccount:vaults:app"
    for audience in (AUDIENCE, "other"):
        with pytest.raises(Refused):
            await client.review_token(token, audiences=[audience])
    cluster.skew = 601
    cluster_token = Secret(cluster.token(BROKER))
    fresh = Cluster(url=cluster.url, token=lambda: cluster_token, ca_file=str(cluster.certificate.certificate))
    with pytest.raises(Refused):
        await fresh.review_token(token, audiences=["vault"])
    with pytest.raises(Refused):
        await fresh.request_token("vaults", "broker", audience="vault")
    await fresh.close()


async def test_a_busy_server_is_asked_again_and_a_hanging_one_is_given_up_within_four_seconds(
    vault: KubernetesProvider, cluster: FakeKubernetes
) -> None:
    await vault.write("app", fields(value="1"))
    cluster.scripted = [503, 500]
    assert (await vault.read("app")).fields["value"].reveal() == "1"
    cluster.scripted = [0, 429]
    await vault.write("app", fields(value="2"))
    cluster.answers.clear()
    begun = asyncio.get_running_loop().time()
    with pytest.raises(Unreachable):
        await vault.read("app")
    assert asyncio.get_running_loop().time() - begun < 20
    cluster.answers.set()
    assert (await vault.read("app")).fields["value"].reveal() == "2"


async def test_a_change_whose_answer_was_lost_is_not_made_twice(
    vault: KubernetesProvider, cluster: FakeKubernetes
) -> None:
    await vault.write("app", fields(value="1"))
    puts = len([one for one in cluster.requests if one.method == "PUT"])
    cluster.scripted = [0, 500]
    with pytest.raises(Unreachable):
        await vault.write("app", fields(value="2"))
    assert len([one for one in cluster.requests if one.method == "PUT"]) == puts + 1


async def test_a_server_whose_authority_is_not_ours_gets_no_token(cluster: FakeKubernetes, token_file: Path) -> None:
    stranger = Cluster(url=cluster.url, token=token_of_file(token_file), ca_file=None)
    with pytest.raises(Unreachable) as failed:
        await stranger.look("vaults")
    assert failed.value.reason == "certificate_not_believed"
    assert cluster.requests == []
    await stranger.close()


async def test_no_token_and_no_value_is_in_any_error(vault: KubernetesProvider, cluster: FakeKubernetes) -> None:
    cluster.rules.clear()
    with pytest.raises(Refused) as refused:
        await vault.write("app", fields(value="canary-value"))
    whole = f"{refused.value!r}{refused.value}{refused.value.__cause__!r}{refused.value.__context__!r}"
    assert "canary" not in whole
    assert "eyJ" not in whole
