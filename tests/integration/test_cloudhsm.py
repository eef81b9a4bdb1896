"""The guide's AWS CloudHSM, by a module that does what Client SDK 5 is documented to do otherwise than other modules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.assembly.hsm import hsm_problems, token_of
from broker.config.hsm import Hsm
from broker.core.secret import Secret
from broker.keys.envelope import CannotOpen
from broker.keys.master.pkcs11 import Pkcs11Master
from broker.keys.master.port import MasterRefused, MasterUnavailable
from broker.keys.pkcs11 import HsmKey, Token
from tests.fakes.audit import SetClock
from tests.fakes.cloudhsm import CloudHsm
from tests.fakes.hsm import PIN, WRAPPING_KEY

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> CloudHsm:
    cloudhsm = CloudHsm.make(tmp_path_factory.mktemp("cloudhsm"))
    cloudhsm.soft.make_key().make_wrapping_key()
    return cloudhsm


@pytest.fixture
def cloudhsm(made: CloudHsm, monkeypatch: pytest.MonkeyPatch) -> CloudHsm:
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    made.configure("10.0.0.1")
    return made


def section_of(cloudhsm: CloudHsm, **changed: Any) -> Hsm:
    body = cloudhsm.section
    body["config"] |= changed
    return Hsm.model_validate(body)


@pytest.fixture
def token(cloudhsm: CloudHsm) -> Iterator[Token]:
    made = token_of(section_of(cloudhsm))
    assert made is not None
    yield made
    made.close()


async def test_the_guide_s_settings_open_the_only_token_and_what_it_signs_verifies(token: Token) -> None:
    key = HsmKey(token=token, label="zerotrust-audit")
    public = await key.find()
    public.verify(await key.sign(b"a checkpoint"), b"a checkpoint")


async def test_it_wraps_with_the_nonce_that_the_hsm_makes(token: Token) -> None:
    master = Pkcs11Master(token=token, label=WRAPPING_KEY, clock=SetClock())
    blobs = [await master.wrap(KEY, context=b"c") for _ in range(3)]
    assert len({blob[5:17] for blob in blobs}) == 3, "the nonces"
    assert [await master.unwrap(blob, context=b"c") for blob in blobs] == [KEY] * 3
    with pytest.raises(CannotOpen, match="altered"):
        await master.unwrap(blobs[0], context=b"d")
    await master.rotate()
    assert not await master.is_newest(blobs[0])
    assert await master.unwrap(blobs[0], context=b"c") == KEY


async def test_a_module_that_makes_no_nonce_is_not_used_with_the_one_of_zeros(
    cloudhsm: CloudHsm,
) -> None:
    token = Token(module=Path("/usr/lib/softhsm/libsofthsm2.so"), label="broker", pin=Secret(PIN), makes_nonces=True)
    master = Pkcs11Master(token=token, label=WRAPPING_KEY, clock=SetClock())
    with pytest.raises(MasterUnavailable, match="no nonce of its own"):
        await master.wrap(KEY, context=b"c")
    token.close()


async def test_a_wrong_user_or_password_is_tried_once(cloudhsm: CloudHsm) -> None:
    token = token_of(section_of(cloudhsm, hsm_username="somebody"))
    assert token is not None
    master = Pkcs11Master(token=token, label=WRAPPING_KEY, clock=SetClock())
    for _ in range(2):
        with pytest.raises(MasterRefused, match="refused the PIN") as refused:
            await master.wrap(KEY, context=b"c")
        assert PIN not in str(refused.value)
    assert token.generation == 0
    token.close()


def test_an_sdk_that_is_configured_for_another_hsm_is_named_with_the_command(cloudhsm: CloudHsm) -> None:
    assert hsm_problems(section_of(cloudhsm)) == []
    cloudhsm.configure("10.0.0.1", cluster="cluster-1234567")
    assert hsm_problems(section_of(cloudhsm)) == []
    command = f"sudo {cloudhsm.folder}/bin/configure-pkcs11 -a 10.0.0.1"
    cloudhsm.configure("10.0.0.2", "10.0.0.3")
    (line,) = hsm_problems(section_of(cloudhsm))
    assert line.startswith("encryption.hsm.config.hsm_ip: ")
    assert line.endswith(f"does not name 10.0.0.1 — fix: {command}")
    cloudhsm.configure("10.0.0.1", cluster="cluster-7654321")
    (line,) = hsm_problems(section_of(cloudhsm))
    assert "has 10.0.0.1 in cluster-7654321, not in cluster-1234567" in line
    file = cloudhsm.folder / "etc" / "cloudhsm-pkcs11.cfg"
    for text in ("{}", "", '{"clusters": [{}]}'):
        file.write_text(text)
        (line,) = hsm_problems(section_of(cloudhsm))
        assert "the SDK is not configured" in line
        assert line.endswith(command)


def test_a_module_that_is_not_installed_is_named_with_its_package(cloudhsm: CloudHsm) -> None:
    (line,) = hsm_problems(section_of(cloudhsm, module="/nonexistent/libcloudhsm_pkcs11.so"))
    assert "/nonexistent/libcloudhsm_pkcs11.so does not exist" in line
    assert "Client SDK 5" in line
