"""``zerotrust-admin``: what operators and auditors do."""

from __future__ import annotations

import click

from broker import __version__
from broker.admin.audit import audit
from broker.admin.compliance import compliance_report
from broker.admin.doctor import doctor
from broker.admin.elevate import approve, break_glass, deny, requests, reviews
from broker.admin.notify import notify_test
from broker.admin.operate import cancel_pass, whoami
from broker.admin.policy import policy
from broker.admin.revoke import restore, revocations, revoke_credentials, revoke_sessions
from broker.admin.trust import trust_policy
from broker.admin.watch import alerts, watch


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zerotrust-admin")
def main() -> None:
    """Operate and audit the broker."""


OFFLINE = (audit, compliance_report, policy, trust_policy, doctor, watch)
AT_A_BROKER = (
    alerts,
    approve,
    break_glass,
    cancel_pass,
    deny,
    notify_test,
    requests,
    restore,
    reviews,
    revocations,
    revoke_credentials,
    revoke_sessions,
    whoami,
)

for command in (*OFFLINE, *AT_A_BROKER):
    main.add_command(command)
