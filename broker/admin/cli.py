"""``zerotrust-admin``: what operators and auditors do.

A command's module is loaded when that command is called: most ask a running broker, and need neither the configuration's model
nor what reads records. What help says of each stands here, so that help loads none of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence

import click

from broker import __version__

_HERE = "broker.admin."

# By what they are for: each command, where it is, and the first sentence of its own help.
_TABLE: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Take and give back, at a running broker": {
        "revoke-sessions": (
            "revoke:revoke_sessions",
            "End all sessions, job passes and cached credentials of somebody, or of everybody.",
        ),
        "revoke-credentials": ("revoke:revoke_credentials", "Give somebody nothing more, until `restore`."),
        "restore": ("revoke:restore", "Lift what `revoke-credentials` holds from somebody."),
        "revocations": ("revoke:revocations", "List what is revoked, the latest first."),
        "cancel-pass": (
            "operate:cancel_pass",
            "End the job pass of this ID (as audit records name it), and all that was made from it.",
        ),
        "alerts": ("watch:alerts", "What the watch holds from people because of an alert."),
    },
    "Time boxes, at a running broker": {
        "requests": (
            "elevate:requests",
            "List your requests for a time box, and those that you may approve, the latest first.",
        ),
        "approve": ("elevate:approve", "Approve somebody else's request."),
        "deny": (
            "elevate:deny",
            "End a request, or the time box that it opened: as one who may approve it, or as the one who asked.",
        ),
        "break-glass": ("elevate:break_glass", "In an emergency: open a time box for ROLE alone."),
        "reviews": (
            "elevate:reviews",
            "List what was broken open on the broker's host, those that wait for a review first.",
        ),
    },
    "Secrets": {"secrets": ("all_secrets:secrets", "Read and keep secrets in the vault, as the rules allow you.")},
    "Keys, at a running broker": {
        "keys": ("keys:keys", "See and rotate the keys that seal what the broker keeps."),
    },
    "Try a running broker": {
        "whoami": ("operate:whoami", "Say who you are to the broker as an operator, and to which broker."),
        "notify-test": (
            "notify:notify_test",
            "Send a test message through each channel of security.breach_notification, and say what became of it.",
        ),
    },
    "Records, offline": {
        "audit": ("audit:audit", "The audit log."),
        "watch": ("watch:watch", "What is unusual about who does what."),
        "compliance-report": (
            "compliance:compliance_report",
            "Write down what the broker can show for each control of a standard, and what it cannot.",
        ),
    },
    "Roles and rules, offline": {
        "policy": ("policy:policy", "Questions of the configured roles and rules."),
        "trust-policy": (
            "trust:trust_policy",
            "Print the trust and permission policies of every hop of ROLE, or of what denies sessions in AWS.",
        ),
    },
    "The broker of this host": {
        "doctor": ("doctor:doctor", "Find out what is wrong with the broker of this host, whether it runs or not."),
        "encrypt-value": (
            "encrypt_value:encrypt_value",
            "Seal what stdin holds for KEY of the configuration: redis.password, roles.dev.chain[0].external_id.",
        ),
    },
}
_PLACES = {name: place for commands in _TABLE.values() for name, (place, _) in commands.items()}


class _Sections(click.Group):
    """Its help names commands by what they are for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See ``click``."""
        del ctx
        return sorted(_PLACES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Loads it."""
        del ctx
        return command(cmd_name) if cmd_name in _PLACES else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What click does, once for each section, with columns that align."""
        width = max(map(len, self.list_commands(ctx)))
        for title, commands in _TABLE.items():
            with formatter.section(title):
                room = formatter.width - width - 4
                said = {
                    name: click.Command(name, help=text).get_short_help_str(room)
                    for name, (_, text) in commands.items()
                }
                formatter.write_dl([(name.ljust(width), text) for name, text in said.items()])


def command(name: str) -> click.Command:
    """One of the table."""
    module, _, attribute = _PLACES[name].partition(":")
    found = getattr(importlib.import_module(_HERE + module), attribute)
    if not isinstance(found, click.Command):
        raise TypeError(f"{name} is no command")
    return found


def sections() -> Mapping[str, Sequence[click.Command]]:
    """All of them, by what they are for."""
    return {title: [command(name) for name in commands] for title, commands in _TABLE.items()}


@click.group(cls=_Sections, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="zerotrust-admin")
def main() -> None:
    """Operate and audit the broker."""
