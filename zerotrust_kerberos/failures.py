"""Every way the helper fails: one line a user can act on, and the exit status scripts rely on.

The AWS tools show the helper's stderr verbatim and nothing else, so the line is all the help there is. It always reads
``what [CODE] — run: fix``; ``fix`` is a command to type. The table is total over the broker's problem codes and over the
helper's own codes. Whatever a server said is cleaned here before it reaches a terminal, and never becomes part of the fix.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_OTHER = 1
EXIT_USAGE = 2
EXIT_TICKET = 3
EXIT_DENIED = 4
EXIT_UNREACHABLE = 5
EXIT_AWS = 6
EXIT_APPROVAL = 7
EXIT_THROTTLED = 8
EXIT_SKEW = 9
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

# Characters. A hint longer than this is cut: the line has to stay readable in a terminal.
SAID_MAX = 200

# Filled in from ``Place``: {again} the same command, {flags} its flags that name the broker, {role} the role or ROLE, {step_up}
# the words of a login for the role, {curl} a curl command up to the path, {host}, {spn}, the same as a {principal}; and from the
# failure: {wait} seconds.
_KERBEROS = "KRB5_TRACE=/dev/stderr kvno {principal}"
_REACH = "{curl}/healthz"
_WHO = "zerotrust whoami{flags}"
_ROLES = "zerotrust roles{flags}"
_LOGIN = "zerotrust login"
_LATER = "sleep {wait}; {again}"

# code -> (exit status, what, fix).
TABLE: dict[str, tuple[int, str, str]] = {
    # Found out on this side.
    "usage": (EXIT_USAGE, "wrong usage", "zerotrust help"),
    "configuration": (EXIT_USAGE, "wrong settings", "zerotrust help"),
    "kerberos_missing": (EXIT_USAGE, "the system's Kerberos library cannot be loaded", "apt-get install krb5-user"),
    "no_ticket": (EXIT_TICKET, "there is no Kerberos ticket", _LOGIN),
    "ticket_expired": (EXIT_TICKET, "the Kerberos ticket has expired", _LOGIN),
    "login_failed": (EXIT_TICKET, "the KDC gave no ticket", "KRB5_TRACE=/dev/stderr {again}"),
    "login_weaker": (EXIT_APPROVAL, "the ticket that came was got in another way than wanted", "klist -C"),
    "logout_failed": (EXIT_OTHER, "the tickets are still there", "kdestroy -A"),
    "kdc_unreachable": (EXIT_OTHER, "no KDC of the realm answers", _KERBEROS),
    "service_unknown": (
        EXIT_USAGE,
        "the KDC knows no service {spn}: broker_url must name the broker",
        "kvno {principal}",
    ),
    "clock_skew": (EXIT_SKEW, "this machine's clock is wrong", "sudo timedatectl set-ntp true"),
    "kerberos_failed": (EXIT_OTHER, "Kerberos gives no ticket for {spn}", _KERBEROS),
    "mutual_auth_failed": (
        EXIT_UNREACHABLE,
        "whoever answers at {host} does not prove to be {spn}; its answer is thrown away",
        "{curl}/v1/whoami --negotiate -u :",
    ),
    "broker_unreachable": (EXIT_UNREACHABLE, "no connection to the broker at {host}", _REACH),
    "tls_untrusted": (
        EXIT_UNREACHABLE,
        "the broker's certificate is not trusted",
        "export ZEROTRUST_CA_FILE=/path/to/ca.pem",
    ),
    "tls_failed": (EXIT_UNREACHABLE, "no TLS connection to the broker at {host}", _REACH),
    "broker_timeout": (EXIT_UNREACHABLE, "the broker at {host} does not answer in time", _REACH),
    "unexpected_answer": (EXIT_OTHER, "the answer from {host} is not a broker's", _REACH),
    "output_failed": (EXIT_OTHER, "stdout cannot be written", "{again}"),
    "no_browser": (EXIT_OTHER, "no browser can be opened here", "{again} --print"),
    "interrupted": (EXIT_INTERRUPTED, "interrupted", "{again}"),
    # Said by the broker.
    "bad_request": (EXIT_USAGE, "the broker does not understand the request", _ROLES),
    "auth_required": (EXIT_TICKET, "the broker saw no Kerberos ticket", _LOGIN),
    "auth_failed": (EXIT_TICKET, "the broker does not accept the Kerberos ticket", _LOGIN),
    "signature_refused": (
        EXIT_TICKET,
        "the broker wants the request signed, and accepts no other key than yours",
        "export ZEROTRUST_ADMIN_SIGNING_KEY=/path/to/key.pem",
    ),
    "access_denied": (EXIT_DENIED, "the broker denies this", _ROLES),
    "step_up_required": (EXIT_APPROVAL, "a ticket from a stronger login is required", "zerotrust login{step_up}"),
    "approval_required": (
        EXIT_APPROVAL,
        "a reason or somebody's approval is needed first",
        "zerotrust request{flags} --role {role} --reason TEXT",
    ),
    "revoked": (EXIT_DENIED, "your access has been revoked", _WHO),
    "cross_site_blocked": (EXIT_OTHER, "something on the way removed a header of the request", _REACH),
    "not_found": (EXIT_USAGE, "the broker at {host} has nothing of this name", _REACH),
    "method_not_allowed": (EXIT_OTHER, "there is no broker of this version at {host}", _REACH),
    "too_large": (EXIT_OTHER, "the broker finds the request too large", _WHO),
    "unsupported_media_type": (EXIT_OTHER, "something on the way changed the request", _REACH),
    "host_not_allowed": (EXIT_USAGE, "the broker does not go by the name {host}", _REACH),
    "rate_limited": (EXIT_THROTTLED, "too many requests", _LATER),
    "headers_too_large": (EXIT_OTHER, "the Kerberos ticket is too large for the broker", "klist -e"),
    "internal_error": (EXIT_OTHER, "the broker failed", _LATER),
    "sts_rejected": (EXIT_AWS, "AWS refused what the broker asked for", _ROLES),
    "sts_unavailable": (EXIT_AWS, "AWS does not serve the broker now", _LATER),
    "sts_timeout": (EXIT_AWS, "AWS did not answer the broker in time", _LATER),
    "audit_unavailable": (EXIT_OTHER, "the broker cannot write its audit record", _LATER),
    "replay_guard_unavailable": (EXIT_OTHER, "the broker cannot check for replays", _LATER),
    "secret_not_found": (EXIT_OTHER, "there is no such secret", _WHO),
    "version_conflict": (EXIT_OTHER, "the secret was changed meanwhile", "{again}"),
    "secrets_rejected": (EXIT_OTHER, "the vault refused the broker", _LATER),
    "secrets_unavailable": (EXIT_OTHER, "the vault is not available", _LATER),
    "keys_unavailable": (EXIT_OTHER, "the broker's keys are not available", _LATER),
    "passes_unavailable": (EXIT_OTHER, "the broker cannot check job passes", _LATER),
    "revocations_unavailable": (EXIT_OTHER, "the broker cannot write the revocation down", _LATER),
    "approvals_unavailable": (EXIT_OTHER, "the broker cannot check what was approved", _LATER),
    "directory_unavailable": (EXIT_OTHER, "the broker cannot ask the directory for your groups", _LATER),
    "overloaded": (EXIT_THROTTLED, "the broker has too much to do", _LATER),
    "draining": (EXIT_UNREACHABLE, "the broker is shutting down", _LATER),
}


class Failure(Exception):
    """The command cannot do its work. ``code`` is a key of ``TABLE``.

    Args:
        code: The key.
        detail: What exactly was wrong, in our words or in those of a library or server; it is cleaned.
        fix: A better command than the table's, entirely ours.
        wait: Seconds after which trying again makes sense.
    """

    def __init__(self, code: str, detail: str = "", *, fix: str | None = None, wait: int = 5) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.fix = fix
        self.wait = wait

    @property
    def exit_status(self) -> int:
        """What the process ends with."""
        return TABLE[self.code][0]


class Place:
    """What the lines talk about: the command being run, and the broker it talks to once that is known.

    Attributes:
        words: The command line without the program's name.
        flags: The words of it that name the broker.
        curl: Words of a curl command; the last one gets the path.
        host: Of the broker.
        spn: Of the broker.
        program: Its name.
        role: The one that is wanted; empty where none is.
    """

    __slots__ = ("curl", "flags", "host", "program", "role", "spn", "words")

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.flags: Sequence[str] = ()
        self.curl: Sequence[str] = ("curl", "-v", "https://broker.example.com:8443")
        self.host = "broker.example.com"
        self.spn = "HTTP@broker.example.com"
        self.program = "zerotrust"
        self.role = ""


def line(failure: Failure, place: Place) -> str:
    """``what (detail) [CODE] — run: fix``, one line, without its line feed."""
    import shlex  # noqa: PLC0415  only a failure has something to quote

    _, what, fix = TABLE[failure.code]
    flags = "".join(f" {shlex.quote(word)}" for word in place.flags)
    fill = {
        "again": shlex.join([place.program, *place.words]),
        "flags": flags,
        "role": place.role or "ROLE",
        "step_up": f"{flags} --step-up {place.role}" if place.role else "",
        "curl": shlex.join(place.curl),
        "host": place.host,
        "spn": place.spn,
        # kvno would read HTTP@host as the user HTTP of a realm called host.
        "principal": place.spn if "/" in place.spn else place.spn.replace("@", "/", 1),
        "wait": failure.wait,
    }
    detail = f" ({clean(failure.detail)})" if failure.detail else ""
    whole = f"{what.format_map(fill)}{detail} [{failure.code}] — run: {failure.fix or fix.format_map(fill)}"
    # File names and flags of the user's own are the only characters left that could break the line.
    return "".join(char if char.isprintable() else "?" for char in whole)


def clean(said: str) -> str:
    """What somebody else said, harmless on a terminal: printable ASCII, one line, no brackets or dashes of ours, cut.

    Escape sequences would colour or rewrite the terminal, and a ``[CODE] — run:`` of the server's own would read as our fix.
    """
    kept = "".join(char if " " <= char <= "~" and char not in "[]" else "?" for char in said[: SAID_MAX + 1])
    kept = kept.replace("run:", "run")
    return kept if len(kept) <= SAID_MAX else kept[: SAID_MAX - 3] + "..."
