"""Tickets that came through a realm in between: FAR.EXAMPLE -> MIDDLE.EXAMPLE -> EXAMPLE.COM, three real KDCs and the broker.

The KDC of EXAMPLE.COM refuses such a ticket unless a path is agreed upon ([capaths]), and says so in the ticket. One that is
set to leave that to the services gives it out without a word, and then the broker's Kerberos asks for the path.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, NamedTuple

import gssapi
import pytest

from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.conversation import ask
from tests.fakes.realm import Realm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAR, MIDDLE, HERE = "FAR.EXAMPLE", "MIDDLE.EXAMPLE", "EXAMPLE.COM"
PATH = f"[capaths]\n    {FAR} = {{\n        {HERE} = {MIDDLE}\n    }}\n"


class Realms(NamedTuple):
    """The one of the user, and the one of the service; what is between them needs no name."""

    far: Realm
    here: Realm


@contextlib.contextmanager
def three_realms(folder: Path, *, kdc_checks_transit: bool) -> Iterator[Realms]:
    first, second = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    options = {"reject_bad_transit": str(kdc_checks_transit).lower()}
    with (
        Realm.start(folder / "here", trusts={MIDDLE: second}, kdc_options=options) as here,
        Realm.start(folder / "middle", name=MIDDLE, services=(), trusts={FAR: first, HERE: second}) as middle,
        Realm.start(
            folder / "far",
            name=FAR,
            principals={"frida": "x"},
            services=(),
            trusts={MIDDLE: first},
            services_realm=HERE,
        ) as far,
    ):
        for peer in (middle, here):
            far.introduce(peer)
        with (far.folder / "krb5.conf").open("a") as file:
            file.write(PATH)
        yield Realms(far, here)


@pytest.fixture(scope="module")
def lax(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realms]:
    with three_realms(tmp_path_factory.mktemp("lax"), kdc_checks_transit=False) as realms:
        yield realms


def asked(realms: Realms, folder: Path, *, path_is_agreed: bool) -> tuple[int, str | None, str | None]:
    """The answer's status, and user and reason of the record."""
    token = realms.far.client_token(realms.far.kinit("frida", folder / "frida"))
    keytab = realms.here.keytab(folder / "http.keytab", "HTTP/localhost")
    kerberos = {"keytabs": [str(keytab)], "realms": {HERE: {}, FAR: {}}}
    settings = configuration(folder, keytab=keytab, sts_endpoint="http://127.0.0.1:1", kerberos=kerberos)
    agreed = folder / "capaths.conf"
    agreed.write_text(PATH if path_is_agreed else "")
    env = {**realms.here.env, "KRB5_CONFIG": f"{realms.here.env['KRB5_CONFIG']}:{agreed}"}
    with BrokerProcess(folder, settings, env=env) as broker:
        status = ask(broker.url, token).status
        record = broker.last_record()
        return status, record["user"], record["reason"]


def test_a_ticket_through_a_realm_that_is_no_agreed_path_is_refused(lax: Realms, tmp_path: Path) -> None:
    assert asked(lax, tmp_path, path_is_agreed=False) == (401, None, "transit_not_allowed")


def test_a_ticket_through_a_realm_that_is_an_agreed_path_counts(lax: Realms, tmp_path: Path) -> None:
    assert asked(lax, tmp_path, path_is_agreed=True) == (200, f"frida@{FAR}", None)


def test_a_kdc_that_checks_the_path_itself_gives_no_such_ticket(tmp_path: Path) -> None:
    with three_realms(tmp_path, kdc_checks_transit=True) as realms:
        client = realms.far.kinit("frida", tmp_path / "frida")
        with pytest.raises(gssapi.raw.GSSError, match="KDC policy rejects request"):
            realms.far.client_token(client)
