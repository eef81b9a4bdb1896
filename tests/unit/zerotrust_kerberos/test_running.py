"""What running things as a role rests on: tickets as klist tells of them, times for people, what hides a profile."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.fakes.broker import NO_HOME
from zerotrust_kerberos import times
from zerotrust_kerberos.console import browser
from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.running import secrets, shadows
from zerotrust_kerberos.signing_in import tickets

LISTED = """\
Ticket cache: KCM:1000:5
Default principal: alice@EXAMPLE.COM

Valid starting     Expires            Service principal
config: fast_avail(krbtgt/EXAMPLE.COM@EXAMPLE.COM) = yes
config: pa_type(krbtgt/OTHER.COM@EXAMPLE.COM) = 16
config: pa_type(krbtgt/EXAMPLE.COM@EXAMPLE.COM) = {proof}
11/22/26 13:59:31  11/22/26 23:59:31  krbtgt/EXAMPLE.COM@EXAMPLE.COM
	renew until 11/23/26 13:59:31
11/22/26 13:59:40  11/22/26 15:00:00  krbtgt/OTHER.COM@EXAMPLE.COM
11/22/26 13:59:40  11/22/26 14:00:00  HTTP/localhost@EXAMPLE.COM
"""


@pytest.mark.parametrize(
    ("proof", "kind"),
    [
        ("2", tickets.PASSWORD),
        ("138", tickets.PASSWORD),
        ("16", tickets.CERTIFICATE),
        ("141", tickets.CODE),
        ("999", ""),
    ],
)
def test_what_counts_is_the_ticket_granting_ticket_of_ones_own_realm(proof: str, kind: str) -> None:
    found = tickets.read(LISTED.format(proof=proof))
    assert found is not None
    assert (found.principal, found.realm, found.cache, found.proof) == (
        "alice@EXAMPLE.COM",
        "EXAMPLE.COM",
        "KCM:1000:5",
        kind,
    )
    assert time.strftime("%H:%M:%S", time.localtime(found.ends)) == "23:59:31"


def test_what_klist_says_otherwise_is_no_ticket() -> None:
    assert tickets.read("klist: Credentials cache keyring 'persistent:0:0' not found\n") is None
    found = tickets.read("Default principal: alice@EXAMPLE.COM\n99/99/99 a  b c  krbtgt/EXAMPLE.COM@EXAMPLE.COM\n")
    assert found is not None
    assert (found.ends, found.proof) == (0, "")


def test_a_time_has_its_date_where_the_next_of_that_name_is_another_one() -> None:
    now = int(time.time())
    assert len(times.of_day(now + 3600)) == len(times.of_day(now + 23 * 3600)) == len("16:02")
    assert len(times.of_day(now - 60)) == len(times.of_day(now + 25 * 3600)) == len("2026-01-31 16:02")
    assert times.of_day(now + 3 * 86400).startswith(time.strftime("%Y-%m-%d ", time.localtime(now + 3 * 86400)))
    assert times.until(now - 5).endswith(" (0 s left)")
    assert [times.span(length) for length in (59, 3599, 18720, 273600)] == ["59 s", "59 min", "5 h 12 min", "3 d 4 h"]
    with pytest.raises(Failure) as caught:
        times.seconds("tomorrow")
    assert caught.value.code == "unexpected_answer"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("[default]\nregion = x\n", None),
        ("[profile other]\ncredential_process = x\n", None),
        ("", None),
        ("[default]\nrole_arn=x\nregion = y\n", "[default]\nregion = y\n"),
        ("[ profile  default ]\nSSO_SESSION = x\n[sso-session x]\na = y\n", "[ profile  default ]\n[sso-session x]\na = y\n"),
        ("[default]\ncredential_process = x\n  --more\n# why\n[a]\n", "[default]\n# why\n[a]\n"),
        # As botocore reads it, however it is written.
        ("[default]\n  aws_access_key_id = x\n  region = y\n", "[default]\n  region = y\n"),
        ("[default]\naws_access_key_id: x\naws_secret_access_key: y\nregion: z\n", "[default]\nregion: z\n"),
        ("[default] ; mine\nrole_arn = x\n", "[default] ; mine\n"),
        ('[profile "default"]\nrole_arn = x\n', '[profile "default"]\n'),
        ("[default]\nregion = y\x0c\nrole_arn = x\n", "[default]\nregion = y\x0c\n"),
        ("[default]\nrole_arn=x\n[other]\naws_secret_access_key=y\nregion=z\n", "[default]\n[other]\nregion=z\n"),
    ],
)  # fmt: skip
def test_only_what_gives_the_default_profile_credentials_is_hidden_and_no_key_is_copied(
    text: str, kept: str | None
) -> None:
    assert shadows.without_credentials(text) == kept


def test_files_are_looked_for_where_the_sdks_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").write_text("[default]\nrole_arn = x\n")
    (tmp_path / "keys").write_text("[default]\naws_access_key_id = x\n")
    found = shadows.hidden({"AWS_CONFIG_FILE": "~/mine", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "keys")})
    assert found.files == {"config": "[default]\n"}
    assert found.environment("/run/x") == {
        "AWS_CONFIG_FILE": "/run/x/config",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }
    assert shadows.hidden({"HOME": NO_HOME}).environment("/run/x") == {}


def test_a_browser_is_the_one_that_is_named_or_the_desktops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "xdg-open").touch(mode=0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert browser.find({"BROWSER": "none:/bin/sh -c 'x %s'"}) == ["/bin/sh", "-c", "x %s"]
    assert browser.find({"BROWSER": "/bin/sh", "DISPLAY": ":0"}) == ["/bin/sh", "%s"]
    assert browser.find({"WAYLAND_DISPLAY": "wayland-0"}) == ["xdg-open", "%s"]
    for environ in ({}, {"BROWSER": "none", "DISPLAY": ":0"}):
        with pytest.raises(Failure) as caught:
            browser.find(environ)
        assert caught.value.code == "no_browser"


@pytest.mark.parametrize("text", ["0s", "25h", "2d", "0000011000000s", "h", "5", "five"])
def test_a_file_is_fetched_again_within_a_day(text: str) -> None:
    assert (secrets.seconds_of("1s"), secrets.seconds_of("24h")) == (1, 86_400)
    with pytest.raises(Failure) as caught:
        secrets.seconds_of(text)
    assert caught.value.detail.startswith("--renew is 1s to 24h")
