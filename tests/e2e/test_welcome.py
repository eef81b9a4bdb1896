"""The help page in real browsers: who is asked twice, what is downloaded from it, and that it works where it is put."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.e2e.conftest import House, settings_of
from tests.fakes import axe
from tests.fakes.broker import NO_HOME, BrokerProcess
from tests.fakes.browsers import chromium, firefox
from tests.fakes.certificates import server_certificate
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts

Open = Callable[..., AbstractContextManager[Page]]
NOBODY = f"FILE:{NO_HOME}"
# A name like any company's: no browser takes it for this machine, and a policy names it with https.
NAME = "broker.example.test"


@pytest.fixture(scope="module")
def company(realm: Realm, sts_service: StrictSts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """A broker with a certificate, under a name that only those know who have our /etc/hosts."""
    folder = tmp_path_factory.mktemp("company")
    realm.add_principal(f"HTTP/{NAME}")
    keytab = realm.keytab(folder / "company.keytab", f"HTTP/{NAME}")
    certificate = server_certificate(folder / "tls", "ecdsa-sha256", host=NAME)
    settings = settings_of(
        folder,
        realm,
        sts_service,
        server={"listen": ["https://127.0.0.1:0"], "hostnames": [NAME]},
        tls={"certificate": str(certificate.certificate), "private_key": str(certificate.key)},
    )
    settings["kerberos"]["keytabs"] = [str(keytab)]
    with BrokerProcess(folder, settings, env=realm.env) as broker:
        yield broker


@pytest.mark.parametrize(
    ("browser", "place"),
    [(chromium, "chromium/policies/managed/zerotrust.json"), (firefox, "firefox/policies/policies.json")],
    ids=["Chromium", "Firefox"],
)
def test_the_file_that_the_help_page_offers_lets_its_browser_in_where_the_page_says_to_put_it(
    browser: Open, place: str, company: BrokerProcess, alice: dict[str, str], tmp_path: Path
) -> None:
    etc = tmp_path / "etc"
    (etc / place).parent.mkdir(parents=True)
    # On a line of its own: Chromium asks for a ticket for the canonical name, the first of a line.
    (etc / "hosts").write_text(f"127.0.0.1 {NAME}\n127.0.0.1 localhost\n")
    folder, _, name = place.rpartition("/")
    url = f"https://{NAME}:{company.url.rpartition(':')[2]}/"
    before = len(company.records())
    with browser(tmp_path / "before", alice, trusts=False, etc=etc, ignore_https_errors=True) as page:
        response = page.goto(url)
        assert response is not None
        assert response.status == 401
        assert f"/etc/{folder}/" in page.inner_text("main")
        with page.expect_download() as download:
            page.click(f"main a[href='/setup/{name}']")
        assert download.value.suggested_filename == name
        download.value.save_as(etc / place)
    assert len(company.records()) == before, "no ticket was ever sent"
    with browser(tmp_path / "after", alice, trusts=False, etc=etc, ignore_https_errors=True) as page:
        page.goto(url)
        assert page.inner_text("h1") == "alice@EXAMPLE.COM"


@pytest.mark.parametrize("java_script", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_a_new_chromium_that_fails_its_first_challenge_is_asked_again_and_is_in(
    house: House,
    alice: dict[str, str],
    tmp_path: Path,
    java_script: bool,  # noqa: FBT001
) -> None:
    with chromium(tmp_path / "new", alice, knows_negotiate=False, java_script=java_script) as page:
        page.goto(f"{house.broker.url}/?q=dev&role=a'%22%3B%3Cb")
        page.wait_for_selector("h1:text('alice@EXAMPLE.COM')")
        assert page.url == f"{house.broker.url}/?q=dev&role=a%27%22%3B%3Cb&again=1"


def test_whoever_has_no_ticket_is_asked_twice_at_the_most_and_then_reads_what_to_do(
    house: House, realm: Realm, tmp_path: Path
) -> None:
    shown: list[str] = []
    with chromium(tmp_path / "profile", {**realm.env, "KRB5CCNAME": NOBODY}) as page:
        page.on("framenavigated", lambda frame: shown.append(frame.url))
        response = page.goto(house.broker.url)
        assert response is not None
        assert response.status == 401
        page.wait_for_url("**/?again=1")
        page.wait_for_load_state("networkidle")
        assert len(shown) == 2
        assert page.inner_text("h1") == "A Kerberos ticket is needed"
        assert "kinit" in page.inner_text("main")
        assert page.get_attribute("a.go", "href") == "/", "whoever tries once more begins anew"


def test_whoever_comes_by_another_sites_link_gets_in_by_their_own_click(
    house: House, alice: dict[str, str], tmp_path: Path
) -> None:
    wiki = tmp_path / "wiki.html"
    wiki.write_text(f"<!doctype html><title>wiki</title><a href='{house.broker.url}/'>the broker</a>")
    with chromium(tmp_path / "profile", alice) as page:
        page.goto(wiki.as_uri())
        page.click("a")
        page.wait_for_selector("h1:text('Asked by another web page')")
        page.click("a.go")
        page.wait_for_selector("h1:text('alice@EXAMPLE.COM')")


NTLM = "Negotiate " + base64.b64encode(b"NTLMSSP\0" + bytes(32)).decode()
USELESS = "Negotiate " + base64.b64encode(b"\x60\x05useless").decode()


def test_every_refusal_is_a_page_that_everybody_can_read(house: House, realm: Realm, tmp_path: Path) -> None:
    states = {
        "A Kerberos ticket is needed": ("/?again=1", None),
        "The ticket was not accepted": ("/", USELESS),
        "Your browser offered NTLM": ("/", NTLM),
        "Let a browser sign you in": ("/setup", None),
        "No such address": ("/setup/none", None),
        "What codes mean": ("/problems", None),
        "AWS refused": ("/problems/sts_rejected", None),
        "Not a name of this broker": (house.broker.url.replace("localhost", "127.0.0.1"), None),
    }
    with chromium(tmp_path / "profile", {**realm.env, "KRB5CCNAME": NOBODY}, trusts=False) as page:
        for title, (path, shown) in states.items():
            page.set_extra_http_headers({"Authorization": shown} if shown else {})
            page.goto(path if path.startswith("http") else house.broker.url + path)
            page.wait_for_load_state("networkidle")
            assert page.inner_text("h1") == title
            page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            for scheme, width in (("light", 320), ("dark", 1000)):
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size({"width": width, "height": 800})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, title
                assert axe.findings(page) == [], title


def test_on_an_address_the_page_names_the_name_to_use_instead(
    house: House, alice: dict[str, str], tmp_path: Path
) -> None:
    with chromium(tmp_path / "profile", alice) as page:
        page.goto(house.broker.url.replace("localhost", "127.0.0.1"))
        assert page.evaluate("getComputedStyle(document.querySelector('.go')).display") == "inline-block", "styled"
        page.click("a.go")
        # To the browser that was a link from one site to another, as any is that does not stay on its name.
        page.wait_for_selector("h1:text('Asked by another web page')")
        page.click("a.go")
        page.wait_for_selector("h1:text('alice@EXAMPLE.COM')")
