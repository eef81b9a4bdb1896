"""``zerotrust login`` and ``zerotrust logout``: a ticket by whatever proof is wanted, and none any more.

``kinit`` does the work, at the user's terminal: passwords, PINs and codes go to it and to nobody else. What is added is what
people have to look up otherwise: which options a certificate or a one-time password takes, where the armor for one comes from
(RFC 6113), what a role asks for, and whether the ticket that came is one of that kind.
"""

from __future__ import annotations

import subprocess
import tempfile

from broker import wire
from broker.wire_standing import END_ALL_PATH
from zerotrust_kerberos import output, times
from zerotrust_kerberos.answers import object_of
from zerotrust_kerberos.ask import ask
from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.signing_in import tickets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zerotrust_kerberos.commands import Call
    from zerotrust_kerberos.settings import Settings

_STDERR = 2
# How sites name the indicator of a login by certificate; whatever has another name is got by an armored login, in which the KDC
# asks for what it wants from its user.
_OF_CERTIFICATES = frozenset({"pkinit", "smartcard", "smart-card", "x509", "piv", "certificate"})


def login(call: Call) -> str:
    """Nothing, on stdout; a terminal is told whose ticket it is, and until when.

    Raises:
        Failure: ``login_failed``, ``login_weaker``; with ``--step-up`` also what stands between them and the role.
    """
    if "step-up" in call.options:
        _step_up(call, call.options["step-up"])
        return ""
    _tell(_login(call, is_armored="otp" in call.switches))
    return ""


def logout(call: Call) -> str:
    """Destroy the tickets; with ``--everywhere`` the broker first ends all that was ever made with any of theirs.

    Raises:
        Failure: They are still there; or it is not ended, and then they are left for another try.
    """
    if "everywhere" in call.switches:
        settings = call.settings()
        call.in_time(settings, lambda watch: ask(settings, watch, method="POST", path=END_ALL_PATH))
    done = tickets.run(["kdestroy", *(["-A"] if "all" in call.switches else [])])
    # Without a cache there is nothing to destroy, and kdestroy says so in its exit status too.
    if done.returncode != 0 and tickets.held() is not None:
        raise Failure("logout_failed", done.stderr.strip())
    ended = ", and all sessions and job passes have ended" if "everywhere" in call.switches else ""
    output.tell(f"no ticket is left{ended}")
    return ""


# ---- one login ----


def _login(call: Call, *, is_armored: bool) -> tickets.Ticket:
    """One run of ``kinit``; the ticket that came of it."""
    options = [] if "identity" not in call.options else ["-X", f"X509_user_identity={call.options['identity']}"]
    options += call.program
    if not is_armored:
        _kinit([*options, *call.words], interactive=True)
        return _checked(call)
    with tempfile.TemporaryDirectory(prefix="zerotrust-") as folder:
        _kinit(["-T", _armor(call, f"FILE:{folder}/armor"), *options, *call.words], interactive=True)
    return _checked(call)


def _armor(call: Call, cache: str) -> str:
    """A cache with a ticket that protects the exchange, which need not be the user's own."""
    keytab = call.options.get("armor-keytab")
    if keytab is not None:
        _kinit(["-k", "-t", keytab, "-c", cache, tickets.first_of(keytab)], interactive=False)
        return cache
    own, realm = tickets.held(), call.words[0].rpartition("@")[2] if call.words and "@" in call.words[0] else ""
    if own is not None and realm in {"", own.realm}:
        return own.cache
    # RFC 8062: a ticket of nobody's, for which the KDC shows a certificate.
    _kinit(["-n", "-c", cache, *([f"@{realm}"] if realm else [])], interactive=False)
    return cache


def _kinit(words: Sequence[str], *, interactive: bool) -> None:
    if not interactive:
        done = tickets.run(["kinit", *words])
        if done.returncode != 0:
            fix = "zerotrust login --otp --armor-keytab /etc/krb5.keytab"
            raise Failure("login_failed", f"no armor for a one-time password: {done.stderr.strip()}", fix=fix)
        return
    try:
        # stdout is for data: its prompts are none.
        status = subprocess.run(["kinit", *words], stdout=_STDERR, check=False).returncode  # noqa: S603, S607
    except OSError as error:
        raise Failure("kerberos_missing", f"kinit: {error.strerror}") from error
    if status != 0:
        raise Failure("login_failed")


def _checked(call: Call) -> tickets.Ticket:
    """What is there now, if it is what was asked for: ``kinit`` goes on to a password where the KDC lets it."""
    found = tickets.held()
    if found is None:
        raise Failure("login_failed", "the ticket has ended already")
    wanted = {"pkinit": tickets.CERTIFICATE, "otp": tickets.CODE}
    for switch in call.switches & wanted.keys():
        if found.proof != wanted[switch]:
            raise Failure("login_weaker", f"by {found.proof or 'something else'}, not by {wanted[switch]}")
    return found


def _tell(found: tickets.Ticket) -> None:
    until = f" until {times.until(found.ends)}" if found.ends else ""
    output.tell(f"{found.principal}{until}{f', by {found.proof}' if found.proof else ''}")


# ---- what a role asks for ----


def _step_up(call: Call, role: str) -> None:
    settings = call.settings(role=role)
    if tickets.held() is None:
        # To be told what a role asks for one has to be somebody.
        _tell(_login(call, is_armored="otp" in call.switches))
    found = _explained(call, settings)
    if found.get("verdict") == "step_up":
        _tell(_login(call, is_armored=_is_armored(call, found)))
        found = _explained(call, settings)
    verdict, hint = found.get("verdict"), f'"{found.get("hint")}"'
    if verdict != "allowed":
        code = {"step_up": "step_up_required", "approval": "approval_required", "denied": "access_denied"}.get(
            str(verdict)
        )
        fix = f"zerotrust explain {role}" if code == "step_up_required" else None
        raise Failure(code or "unexpected_answer", hint, fix=fix)
    output.tell(f"you may have {role}")


def _is_armored(call: Call, found: Mapping[str, object]) -> bool:
    """Whether the login needs an armor: what the command line says, or else what the role asks for."""
    if call.switches & {"pkinit", "otp"} or "identity" in call.options:
        return "otp" in call.switches
    lacking = found.get("step_up")
    indicators = lacking.get("indicators") if isinstance(lacking, dict) else None
    named = {str(name).lower() for name in indicators} if isinstance(indicators, list) else set()
    return bool(named - _OF_CERTIFICATES)


def _explained(call: Call, settings: Settings) -> dict[str, object]:
    """The broker's word on the role."""
    path = f"{wire.EXPLAIN_PATH}/{settings.role}"
    return object_of(call.in_time(settings, lambda watch: ask(settings, watch, method="GET", path=path)))
