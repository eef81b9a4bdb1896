"""``zerotrust login`` at a terminal. A real KDC takes passwords, certificates and one-time passwords; the broker is real too."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.realm import Realm
from tests.fakes.strong_logins import Certificates, Radius
from tests.fakes.user_side import Terminal, zerotrust

if TYPE_CHECKING:
    from collections.abc import Iterator

PEOPLE = {"alice": "wonderland", "bob": "builder", "carol": "unused"}


@dataclass
class Scene:
    """A KDC that tells how people logged in, and a broker that cares."""

    realm: Realm
    certificates: Certificates
    radius: Radius
    broker: BrokerProcess
    folder: Path

    def user(self, name: str) -> dict[str, str]:
        """Somebody's environment, with a cache of its own and no ticket in it."""
        url = self.broker.url.replace("127.0.0.1", "localhost")
        cache = self.folder / f"cache-{name}-{len(list(self.folder.iterdir()))}"
        cache.mkdir()
        return {**self.realm.env, "KRB5CCNAME": f"FILE:{cache}/tickets", "ZEROTRUST_BROKER_URL": url}


def rule(user: str, role: str, **require: Any) -> dict[str, Any]:
    return {"name": f"{user}-{role}", "principals": [f"{user}@EXAMPLE.COM"], "roles": [role], "require": require}


RULES = [
    rule("alice", "developer", indicators=["pkinit"]),
    rule("carol", "developer", indicators=["otp"]),
    rule("bob", "readonly", indicators=["hardened"]),
    rule("bob", "developer", indicators=["otp"]),
    rule("alice", "readonly", approval=1) | {"approvers": {"principals": ["bob@EXAMPLE.COM"]}},
]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("login")
    certificates = Certificates.make(folder / "certificates", realm="EXAMPLE.COM", users=["alice"])
    with (
        Radius(folder / "radius") as radius,
        Realm.start(
            folder / "realm",
            principals=PEOPLE,
            kdc_options={**certificates.kdc_options, "encrypted_challenge_indicator": "hardened"},
            client_options=certificates.client_options,
            kdc_sections=radius.kdc_section,
        ) as realm,
    ):
        realm.add_principal("WELLKNOWN/ANONYMOUS")
        realm.set_string("carol", "otp", '[{"type":"DEFAULT"}]')
        settings = configuration(
            folder, keytab=realm.keytab(folder / "keytab", "HTTP/localhost"), sts_endpoint="http://127.0.0.1:1"
        )
        settings["rules"] = RULES
        with BrokerProcess(folder, settings, env=realm.env) as broker:
            yield Scene(realm, certificates, radius, broker, folder)


def principal(environment: dict[str, str]) -> str:
    """Whose tickets are in the cache; empty where there are none."""
    done = subprocess.run(
        ["klist"], env={"PATH": "/usr/bin", **environment}, capture_output=True, text=True, check=False
    )
    return next((line.split(": ")[1] for line in done.stdout.splitlines() if line.startswith("Default principal")), "")


def test_a_password_is_typed_at_the_terminal_and_the_ticket_is_described(scene: Scene) -> None:
    user = scene.user("alice")
    with Terminal(user, "login", "alice") as terminal:
        terminal.until("Password for alice@EXAMPLE.COM: ")
        terminal.type("wonderland\n")
        assert terminal.end() == 0
    assert "wonderland" not in terminal.seen
    assert "alice@EXAMPLE.COM until " in terminal.seen
    assert terminal.seen.endswith(" min left), by password\r\n")
    assert "(10 h 0 min" in terminal.seen or "(9 h 59 min" in terminal.seen
    assert zerotrust(user, "whoami").returncode == 0


def test_stdout_stays_empty_and_without_a_terminal_nothing_is_told(scene: Scene) -> None:
    user = scene.user("alice")
    done = zerotrust(user, "login", "alice", text="wonderland\n")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "Password for alice@EXAMPLE.COM: \n"


def test_a_wrong_password_leaves_what_was_there_and_says_how_to_see_more(scene: Scene) -> None:
    user = scene.user("bob")
    scene.realm.kinit("bob", Path(user["KRB5CCNAME"].removeprefix("FILE:")))
    done = zerotrust(user, "login", "alice", text="wrong\n")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == (
        "the KDC gave no ticket [login_failed] — run: KRB5_TRACE=/dev/stderr zerotrust login alice"
    )
    assert principal(user) == "bob@EXAMPLE.COM"


def test_ctrl_c_at_the_prompt_ends_it_as_a_shell_expects(scene: Scene) -> None:
    with Terminal(scene.user("alice"), "login", "alice") as terminal:
        terminal.until("Password for")
        terminal.type("\x03")
        assert terminal.end() == 130


def test_a_certificate_is_asked_for_and_shown(scene: Scene) -> None:
    user = scene.user("alice")
    with Terminal(user, "login", "alice", "--pkinit", "--identity", scene.certificates.identity("alice")) as terminal:
        assert terminal.end() == 0
    assert terminal.seen.endswith(", by certificate\r\n")
    assert principal(user) == "alice@EXAMPLE.COM"


def test_where_the_kdc_is_content_with_a_password_a_certificate_was_not_shown(scene: Scene) -> None:
    user = scene.user("bob")
    done = zerotrust(user, "login", "bob", "--pkinit", text="builder\n")
    assert (done.returncode, done.stdout) == (7, "")
    assert "(by password, not by certificate) [login_weaker] — run: klist -C" in done.stderr


def test_a_one_time_password_goes_through_an_anonymous_ticket_and_counts_once(scene: Scene) -> None:
    scene.radius.codes["carol"] = {"123456"}
    user = scene.user("carol")
    with Terminal(user, "login", "carol", "--otp") as terminal:
        terminal.until("Enter OTP Token Value: ")
        terminal.type("123456\n")
        assert terminal.end() == 0
    assert terminal.seen.endswith(", by one-time password\r\n")
    assert "123456" not in terminal.seen
    assert zerotrust(user, "login", "carol", "--otp", text="123456\n").returncode == 3


def test_the_armor_may_be_ones_own_ticket_or_a_keytabs(scene: Scene) -> None:
    scene.radius.codes["carol"] = {"1", "2"}
    user = scene.user("carol")
    scene.realm.kinit("bob", Path(user["KRB5CCNAME"].removeprefix("FILE:")))
    assert zerotrust(user, "login", "carol", "--otp", text="1\n").returncode == 0
    assert principal(user) == "carol@EXAMPLE.COM"
    keytab = scene.realm.keytab(scene.folder / "host.keytab", "HTTP/localhost")
    done = zerotrust(scene.user("carol"), "login", "carol", "--otp", "--armor-keytab", str(keytab), text="2\n")
    assert done.returncode == 0
    done = zerotrust(scene.user("carol"), "login", "carol", "--otp", "--armor-keytab", "/no/such")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.endswith("[configuration] — run: klist -k /no/such\n")


def test_nothing_of_an_armor_is_left(scene: Scene, tmp_path: Path) -> None:
    scene.radius.codes["carol"] = {"1"}
    done = zerotrust({**scene.user("carol"), "TMPDIR": str(tmp_path)}, "login", "carol", "--otp", text="1\n")
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_stepping_up_logs_in_as_the_role_asks_and_says_whether_that_was_enough(scene: Scene) -> None:
    scene.radius.codes["carol"] = {"7"}
    user = scene.user("carol")
    done = zerotrust(user, "login", "carol", "--otp", text="7\n")
    with Terminal(user, "login", "--step-up", "developer") as terminal:
        assert terminal.end() == 0
    assert (done.returncode, terminal.seen) == (0, "you may have developer\r\n")


def test_stepping_up_from_a_password_takes_a_second_login_of_the_right_kind(scene: Scene) -> None:
    user = scene.user("bob")
    scene.realm.kinit("bob", Path(user["KRB5CCNAME"].removeprefix("FILE:")))
    with Terminal(user, "login", "--step-up", "readonly") as terminal:
        terminal.until("Password for bob@EXAMPLE.COM: ")
        terminal.type("builder\n")
        assert terminal.end() == 0
    assert terminal.seen.endswith("left), by password\r\nyou may have readonly\r\n")


def test_stepping_up_shows_the_certificate_that_it_is_told_of(scene: Scene) -> None:
    user = scene.user("alice")
    scene.realm.kinit("alice", Path(user["KRB5CCNAME"].removeprefix("FILE:")))
    identity = scene.certificates.identity("alice")
    done = zerotrust(user, "login", "--step-up", "developer", "--identity", identity)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_login_that_is_not_enough_for_the_role_says_so(scene: Scene) -> None:
    user = scene.user("bob")
    scene.realm.kinit("bob", Path(user["KRB5CCNAME"].removeprefix("FILE:")))
    # Bob has no token: the KDC is content with his password, the broker is not.
    done = zerotrust(user, "login", "--step-up", "developer", text="builder\n")
    assert done.returncode == 7
    assert "[step_up_required] — run: zerotrust explain developer" in done.stderr


@pytest.mark.parametrize(
    ("role", "status", "code"), [("readonly", 7, "approval_required"), ("none", 4, "access_denied")]
)
def test_what_no_login_helps_with_asks_for_none(scene: Scene, role: str, status: int, code: str) -> None:
    user = scene.user("alice")
    scene.realm.kinit("alice", Path(user["KRB5CCNAME"].removeprefix("FILE:")))
    done = zerotrust(user, "login", "--step-up", role)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1)
    assert f"[{code}] — run: zerotrust " in done.stderr


def test_a_refused_program_is_told_the_login_that_helps(scene: Scene) -> None:
    user = scene.user("bob")
    scene.realm.kinit("bob", Path(user["KRB5CCNAME"].removeprefix("FILE:")))
    done = zerotrust(user, "credential-process", "--role", "readonly")
    assert done.returncode == 7
    assert done.stderr.endswith("[step_up_required] — run: zerotrust login --step-up readonly\n")


def test_logging_out_destroys_the_tickets_and_again_is_no_error(scene: Scene) -> None:
    user = scene.user("alice")
    scene.realm.kinit("alice", Path(user["KRB5CCNAME"].removeprefix("FILE:")))
    with Terminal(user, "logout") as terminal:
        assert terminal.end() == 0
    assert terminal.seen == "no ticket is left\r\n"
    assert principal(user) == ""
    assert zerotrust(user, "logout").returncode == 0
    assert principal(user) == ""
    assert zerotrust(user, "whoami").stderr.endswith("[no_ticket] — run: zerotrust login\n")


def test_logging_out_everywhere_ends_all_sessions_and_passes_or_leaves_the_ticket(scene: Scene) -> None:
    user = scene.user("alice")
    scene.realm.kinit("alice", Path(user["KRB5CCNAME"].removeprefix("FILE:")))
    away = zerotrust({**user, "ZEROTRUST_BROKER_URL": "http://localhost:1"}, "logout", "--everywhere")
    assert (away.returncode, principal(user)) == (5, "alice@EXAMPLE.COM")
    with Terminal(user, "logout", "--everywhere") as terminal:
        assert terminal.end() == 0
    assert terminal.seen == "no ticket is left, and all sessions and job passes have ended\r\n"
    assert principal(user) == ""
    assert (scene.broker.last_record()["user"], scene.broker.last_record()["success"]) == ("alice@EXAMPLE.COM", True)
