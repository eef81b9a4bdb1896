"""``zerotrust-admin``: what operators and auditors do."""

from __future__ import annotations

import click

from broker import __version__
from broker.admin.audit import audit
from broker.admin.doctor import doctor
from broker.admin.operate import cancel_pass, whoami
from broker.admin.policy import policy
from broker.admin.trust import trust_policy


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zerotrust-admin")
def main() -> None:
    """Operate and audit the broker."""


for command in (audit, policy, trust_policy, doctor, cancel_pass, whoami):
    main.add_command(command)
