"""Users of trusted realms, through real trusts: two Active Directory domains, an MIT realm, and brokers as processes.

    PEER.EXAMPLE (Samba) <-> AD.EXAMPLE.COM (Samba) <-> EXAMPLE.COM (MIT)

A broker is in AD.EXAMPLE.COM, where the PACs of its own users and of PEER's arrive, and one in EXAMPLE.COM, where none does.
PEER's domain controller is in hostile hands: it says of mallory that she is in a group of AD.EXAMPLE.COM.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import gssapi
import pytest

from broker.authn import pac
from tests.fakes.active_directory import DOMAIN_SID, SERVICE, ActiveDirectory, Group, Trust, User
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.conversation import Answer, obtain
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts, demo_world

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

AD, PEER, MIT = "AD.EXAMPLE.COM", "PEER.EXAMPLE", "EXAMPLE.COM"
PEER_SID = "S-1-5-21-1004336348-1177238915-682003330"
NO_DOMAIN = "S-1-5-21-1-1-1"  # Samba asks for one even of a realm that has none.


class World(NamedTuple):
    """Who trusts whom is in the module's first lines."""

    ad: ActiveDirectory
    peer: ActiveDirectory
    mit: Realm
    sts: StrictSts


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    secret, other_secret = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    with contextlib.ExitStack() as stack:
        ad = stack.enter_context(
            ActiveDirectory.start(
                folder / "ad",
                name=AD,
                people={"anna": User(), "arno": User(), "svc-http": User(services=(SERVICE,))},
                teams={"team": Group(members=("anna",))},
                trusts={MIT: Trust(secret, NO_DOMAIN), PEER: Trust(other_secret, PEER_SID)},
                services_realm=MIT,
            )
        )
        peer = stack.enter_context(
            ActiveDirectory.start(
                folder / "peer",
                name=PEER,
                domain_sid=PEER_SID,
                people={"paula": User(), "mallory": User()},
                teams={
                    "partners": Group(members=("paula",)),
                    "claimed": Group(members=("mallory",), claimed_sid=ad.sids["team"]),
                },
                trusts={AD: Trust(other_secret, DOMAIN_SID)},
                services_realm=AD,
            )
        )
        mit = stack.enter_context(Realm.start(folder / "mit", principals={}, trusts={AD: secret}))
        for here, there in ((ad, mit), (mit, ad), (ad, peer), (peer, ad)):
            here.introduce(there)
        yield World(ad, peer, mit, stack.enter_context(StrictSts(demo_world())))


def a_broker(
    folder: Path, realm: Realm, keytab: Path, world: World, realms: Mapping[str, Any], **who: list[str]
) -> BrokerProcess:
    settings = configuration(
        folder,
        keytab=keytab,
        sts_endpoint=world.sts.url,
        kerberos={"keytabs": [str(keytab)], "realms": realms},
        rules=[{"name": "engineers", "roles": ["developer"], **who}],
    )
    return BrokerProcess(folder, settings, env=realm.env)


def in_mit(folder: Path, world: World, realms: Mapping[str, Any], **who: list[str]) -> BrokerProcess:
    return a_broker(folder, world.mit, world.mit.keytab(folder / "http.keytab", SERVICE), world, realms, **who)


@pytest.fixture(scope="module")
def mit_broker(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """In the MIT realm; its rule names anna of the directory, and a group that arno of the directory is in too."""
    who = {"principals": [f"anna@{AD}"], "groups": [f"{DOMAIN_SID}-513"]}
    realms = {MIT: {}, AD: {"domain_sid": DOMAIN_SID}}
    with in_mit(tmp_path_factory.mktemp("mit-broker"), world, realms, **who) as running:
        yield running


@pytest.fixture(scope="module")
def ad_broker(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """In the directory; its rule names a group of each domain."""
    who = {"groups": [world.ad.sids["team"], world.peer.sids["partners"]]}
    realms = {AD: {"domain_sid": DOMAIN_SID, "require_pac": True}, PEER: {"domain_sid": PEER_SID, "require_pac": True}}
    folder = tmp_path_factory.mktemp("ad-broker")
    with a_broker(folder, world.ad, world.ad.http_keytab, world, realms, **who) as running:
        yield running


def token_of(realm: Realm, user: str, folder: Path) -> bytes:
    return realm.client_token(realm.kinit(user, folder / user))


def local_token_of_anna(world: World, folder: Path) -> bytes:
    """For the directory's own HTTP/localhost, though her machine takes localhost for one of the MIT realm."""
    client = world.ad.kinit("anna", folder / "anna")
    with world.ad.entered():
        name = gssapi.Name(f"{SERVICE}@{AD}", gssapi.NameType.kerberos_principal)
        credentials = gssapi.Credentials(usage="initiate", store={"ccache": client["KRB5CCNAME"]})
        context = gssapi.SecurityContext(name=name, creds=credentials, mech=gssapi.MechType.kerberos, usage="initiate")
        return context.step() or b""


def assert_allowed(broker: BrokerProcess, token: bytes, user: str) -> None:
    answer = obtain(broker.url, token, "developer")
    assert answer.status == 200, answer.body
    record = broker.last_record()
    assert (record["event"], record["user"]) == ("issued", user)


def assert_refused(broker: BrokerProcess, token: bytes, user: str, status: int, reason: str) -> None:
    answer: Answer = obtain(broker.url, token, "developer")
    assert answer.status == status, answer.body
    record = broker.last_record()
    assert (record["event"], record["user"], record["reason"]) == ("refused", user, reason)
    assert reason not in str(answer.body)


# ---- from Active Directory to an MIT realm ----


def test_a_user_of_the_directory_gets_credentials_in_the_mit_realm_that_trusts_it(
    world: World, mit_broker: BrokerProcess, tmp_path: Path
) -> None:
    assert_allowed(mit_broker, token_of(world.ad, "anna", tmp_path), f"anna@{AD}")


def test_the_groups_of_the_directory_do_not_reach_the_mit_realm(
    world: World, mit_broker: BrokerProcess, tmp_path: Path
) -> None:
    # MIT's KDC makes a PAC of its own, without logon information: arno, too, is among the Domain Users that the rule names.
    assert_refused(mit_broker, token_of(world.ad, "arno", tmp_path), f"arno@{AD}", 403, "no_rule")


@pytest.mark.parametrize(
    ("realms", "status", "reason"),
    [
        ({MIT: {}}, 403, "realm_not_allowed"),
        ({MIT: {}, AD: {"domain_sid": DOMAIN_SID, "require_pac": True}}, 401, "pac_missing"),
    ],
)
def test_a_user_of_the_directory_is_refused_where_the_realm_is_not_served_or_has_to_say_more(
    world: World, tmp_path: Path, realms: dict[str, Any], status: int, reason: str
) -> None:
    with in_mit(tmp_path, world, realms, principals=["alice@EXAMPLE.COM"]) as broker:
        assert_refused(broker, token_of(world.ad, "anna", tmp_path), f"anna@{AD}", status, reason)


# ---- from one domain to another ----


def test_a_user_of_a_trusted_domain_is_allowed_by_a_group_of_that_domain(
    world: World, ad_broker: BrokerProcess, tmp_path: Path
) -> None:
    assert_allowed(ad_broker, token_of(world.peer, "paula", tmp_path), f"paula@{PEER}")


def test_a_trusted_domain_cannot_put_its_users_into_groups_of_ours(
    world: World, ad_broker: BrokerProcess, tmp_path: Path
) -> None:
    assert_allowed(ad_broker, local_token_of_anna(world, tmp_path), f"anna@{AD}")
    token = token_of(world.peer, "mallory", tmp_path)
    # Samba 4.17 lets the foreign domain controller's claim through, signed by our own.
    assert world.ad.sids["team"] in pac.groups(world.ad.logon_info(token)).groups
    assert_refused(ad_broker, token, f"mallory@{PEER}", 403, "no_rule")


def test_a_trusted_domain_that_passes_for_ours_is_refused(world: World, tmp_path: Path) -> None:
    # Configured so by mistake: the SID of ours at the other's name.
    realms = {AD: {}, PEER: {"domain_sid": DOMAIN_SID}}
    who = {"groups": [world.ad.sids["team"]]}
    with a_broker(tmp_path, world.ad, world.ad.http_keytab, world, realms, **who) as broker:
        token = token_of(world.peer, "mallory", tmp_path)
        assert_refused(broker, token, f"mallory@{PEER}", 401, "pac_of_another_domain")
