"""A master key in AWS KMS, as moto has it: contexts, altered blobs, and what is done while the key cannot be used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from broker.keys.envelope import CannotOpen
from broker.keys.master.aws_kms import AwsKmsMaster
from broker.keys.master.port import MasterKey, MasterRefused, MasterUnavailable, Rotatable
from broker.remote.aws import AwsClient, AwsKms
from broker.sts.base import GivenCredentials
from tests.fakes.audit import SetClock
from tests.fakes.kms import REGION, KmsServer

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def server() -> Iterator[KmsServer]:
    with KmsServer() as running:
        yield running


@pytest.fixture
def kms(server: KmsServer) -> KmsServer:
    server.faults.clear()
    return server


def master_on(kms: KmsServer, key_id: str) -> AwsKmsMaster:
    keys = GivenCredentials(access_key_id="AKIATESTTESTTESTTEST", secret_key="x", session_token=None)
    client = AwsClient("kms", region=REGION, endpoint=kms.url, keys=keys)
    return AwsKmsMaster(kms=AwsKms(key_id, client=client), key_id=key_id, clock=SetClock())


@pytest.fixture
async def master(kms: KmsServer) -> AsyncIterator[AwsKmsMaster]:
    made = master_on(kms, kms.make_key())
    yield made
    await made.close()


async def test_what_it_wrapped_opens_in_its_context_and_in_no_other(master: AwsKmsMaster) -> None:
    port: MasterKey = master
    blob = await port.wrap(KEY, context=b"kek/1")
    assert KEY not in blob
    assert await port.unwrap(blob, context=b"kek/1") == KEY
    with pytest.raises(CannotOpen):
        await port.unwrap(blob, context=b"kek/2")
    assert (await port.ping(), await port.is_newest(blob)) == (None, True)
    assert not isinstance(port, Rotatable), "KMS rotates the key itself"


async def test_altered_blobs_and_those_of_another_key_are_refused_and_the_master_stays_well(
    kms: KmsServer, master: AwsKmsMaster
) -> None:
    blob = await master.wrap(KEY, context=b"c")
    for bit in range(0, len(blob) * 8, 37):
        flipped = (int.from_bytes(blob) ^ 1 << bit).to_bytes(len(blob))
        with pytest.raises(CannotOpen):
            await master.unwrap(flipped, context=b"c")
    other = master_on(kms, kms.make_key())
    with pytest.raises(CannotOpen, match="unknown_key"):
        await master.unwrap(await other.wrap(KEY, context=b"c"), context=b"c")
    assert master.failure is None
    await other.close()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ThrottlingException", MasterUnavailable),
        ("KeyUnavailableException", MasterUnavailable),
        ("DisabledException", MasterRefused),
        ("AccessDeniedException", MasterRefused),
        ("NotFoundException", MasterRefused),
    ],
)
async def test_while_the_key_cannot_be_used_it_says_so_and_goes_on_when_it_can(
    kms: KmsServer, master: AwsKmsMaster, code: str, kind: type[MasterUnavailable]
) -> None:
    blob = await master.wrap(KEY, context=b"c")
    kms.faults.update(Encrypt=code, Decrypt=code)
    for asking in (master.wrap(KEY, context=b"c"), master.unwrap(blob, context=b"c")):
        with pytest.raises(MasterUnavailable) as failed:
            await asking
        assert type(failed.value) is kind
    assert await master.ping() is not None
    kms.faults.clear()
    assert await master.ping() is None
    assert await master.unwrap(blob, context=b"c") == KEY


async def test_a_key_service_that_is_not_there_is_missed_within_its_patience() -> None:
    keys = GivenCredentials(access_key_id="AKIATESTTESTTESTTEST", secret_key="x", session_token=None)
    client = AwsClient("kms", region=REGION, endpoint="http://127.0.0.1:1", keys=keys)
    master = AwsKmsMaster(kms=AwsKms("alias/x", client=client), key_id="alias/x", clock=SetClock())
    with pytest.raises(MasterUnavailable):
        await master.wrap(KEY, context=b"c")
    await master.close()
