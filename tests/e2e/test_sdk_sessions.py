"""``boto3_session`` and ``AsyncBroker`` with the broker as a process: one question, whatever a program does with the answer."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import zerotrust_kerberos
from tests.e2e.conftest import House
from tests.fakes.broker import PROGRAMS
from zerotrust_kerberos import AsyncBroker, SecretManager, ZeroTrustError

ARN = "arn:aws:sts::111122223333:assumed-role/Developer/alice@EXAMPLE.COM"
DOCUMENT = Path(__file__).parents[2] / "docs" / "sdk.md"


@pytest.fixture
def as_alice(house: House, alice: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """This process: alice's, with keys in its environment that must not be used."""
    monkeypatch.setenv("ZEROTRUST_BROKER_URL", house.broker.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", house.sts.url)
    with house.realm.entered(alice):
        yield house


def issued(house: House) -> int:
    return sum(record["event"] == "issued" for record in house.broker.records())


def test_threads_of_a_session_share_one_answer_of_the_broker(as_alice: House) -> None:
    before = issued(as_alice)
    session = zerotrust_kerberos.boto3_session(role="developer", region_name="eu-central-1")
    client = session.client("sts")
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: client.get_caller_identity()["Arn"], range(64))) == {ARN}
    assert issued(as_alice) == before + 1
    assert session.get_credentials().method == "zerotrust"
    assert session.get_credentials().account_id == "111122223333"


def test_a_role_may_be_named_by_its_arn_and_botocores_own_session_takes_the_provider(as_alice: House) -> None:
    import botocore.session  # noqa: PLC0415  250 ms, for this test alone

    session = botocore.session.Session()
    resolver = session.get_component("credential_provider")
    resolver.insert_before(
        "env", zerotrust_kerberos.ZeroTrustProvider(role_arn="arn:aws:iam::111122223333:role/Developer")
    )
    client = session.create_client("sts", region_name="eu-central-1")
    assert client.get_caller_identity()["Arn"] == ARN


@pytest.mark.parametrize(
    ("wanted", "code", "status"),
    [({"role": "readonly"}, "access_denied", 4), ({}, "usage", 2), ({"role": "no such"}, "usage", 2)],
    ids=["denied", "no role", "not a role's name"],
)
def test_what_is_wrong_shows_when_the_session_is_made(
    as_alice: House, wanted: dict[str, str], code: str, status: int
) -> None:
    with pytest.raises(ZeroTrustError) as caught:
        zerotrust_kerberos.boto3_session(**wanted)
    assert (caught.value.code, caught.value.exit_status) == (code, status)
    assert f"[{code}] — run: " in str(caught.value)


def test_without_a_broker_or_a_ticket_the_line_says_so(house: House, alice: dict[str, str], tmp_path: Path) -> None:
    away = SecretManager(broker_url="http://localhost:1")
    with house.realm.entered(alice), pytest.raises(ZeroTrustError) as caught:
        zerotrust_kerberos.boto3_session(role="developer", manager=away)
    assert caught.value.code == "broker_unreachable"
    there = SecretManager(broker_url=house.broker.url)
    with (
        house.realm.entered({"KRB5CCNAME": f"FILE:{tmp_path}/none"}),
        pytest.raises(ZeroTrustError, match="run: zerotrust login") as caught,
    ):
        zerotrust_kerberos.boto3_session(role="developer", manager=there)
    assert caught.value.exit_status == 3


async def test_a_loop_gets_credentials_and_refusals(as_alice: House) -> None:
    async with AsyncBroker() as broker:
        with await broker.get_credentials("developer") as found:
            assert found.access_key_id.startswith("ASIA")
        with pytest.raises(ZeroTrustError) as caught:
            await broker.get_credentials("readonly")
    assert caught.value.code == "access_denied"


def test_the_documents_programs_are_right_by_mypys_strictest_measure(tmp_path: Path) -> None:
    """What a program sees is the installed package, with its types (PEP 561)."""
    pieces = [piece.partition("```")[0] for piece in DOCUMENT.read_text().split("```python\n")[1:]]
    programs = [piece for piece in pieces if "boto3_session" in piece or "AsyncBroker" in piece]
    assert programs
    for number, program in enumerate(programs):
        (tmp_path / f"program_{number}.py").write_text(program)
    wrong = "\nimport zerotrust_kerberos\nzerotrust_kerberos.boto3_session(role=1)\n"
    (tmp_path / "wrong.py").write_text(wrong)
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = true\n[mypy-boto3.*,botocore.*]\nignore_missing_imports = true\n"
    )
    done = subprocess.run(
        [PROGRAMS / "mypy", "--cache-dir", tmp_path / "cache", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert [line for line in done.stdout.splitlines() if "error:" in line] == [
        'wrong.py:3: error: Argument "role" to "boto3_session" has incompatible type "int"; expected "str | None"  [arg-type]'
    ], done.stdout
