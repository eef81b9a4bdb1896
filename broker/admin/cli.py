"""``zerotrust-admin``: what operators and auditors do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from broker import __version__
from broker.admin.audit import audit
from broker.admin.backup import backup, restore_backup, verify_backup
from broker.admin.compliance import compliance_report
from broker.admin.doctor import doctor
from broker.admin.elevate import approve, break_glass, deny, requests, reviews
from broker.admin.encrypt_value import encrypt_value
from broker.admin.keys import keys
from broker.admin.notify import notify_test
from broker.admin.operate import cancel_pass, whoami
from broker.admin.policy import policy
from broker.admin.revoke import restore, revocations, revoke_credentials, revoke_sessions
from broker.admin.secrets import secrets
from broker.admin.transit import rewrap, seal, unseal
from broker.admin.trust import trust_policy
from broker.admin.watch import alerts, watch

SECTIONS: Mapping[str, Sequence[click.Command]] = {
    "Take and give back, at a running broker": (
        revoke_sessions,
        revoke_credentials,
        restore,
        revocations,
        cancel_pass,
        alerts,
    ),
    "Time boxes, at a running broker": (requests, approve, deny, break_glass, reviews),
    "Secrets": (secrets,),
    "Keys, at a running broker": (keys,),
    "Try a running broker": (whoami, notify_test),
    "Records, offline": (audit, watch, compliance_report),
    "Roles and rules, offline": (policy, trust_policy, doctor),
    "Configuration, offline": (encrypt_value,),
}


class _Sections(click.Group):
    """Its help names commands by what they are for."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What click does, once for each section, with columns that align."""
        width = max(len(name) for name in self.list_commands(ctx))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (str(one.name).ljust(width), one.get_short_help_str(formatter.width - width - 4))
                        for one in commands
                    ]
                )


for command in (backup, restore_backup, verify_backup):
    secrets.add_command(command)


@click.group(cls=_Sections, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="zerotrust-admin")
def main() -> None:
    """Operate and audit the broker."""


for document in (seal, unseal, rewrap):
    secrets.add_command(document)
for command in (each for commands in SECTIONS.values() for each in commands):
    main.add_command(command)
