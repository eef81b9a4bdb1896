"""AWS: the broker's own credentials, and each role's chain, which is walked only where that was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from broker.admin.finding import Finding, bad, ok, unseen, warn
from broker.assembly.doctor.patient import NotSeen, Patient
from broker.assembly.probe import caller as caller_of
from broker.assembly.probe import probe
from broker.core.errors import AuditUnavailable, ConfigurationError, StsError
from broker.core.verdict import Verdict

# With the environment of the unit, which sudo would not give.
_PROBE = "systemctl start zerotrust-probe; journalctl -u zerotrust-probe -n 20"
_UNREACHABLE = frozenset({"sts_unreachable", "sts_timeout"})
_CODES: Mapping[Verdict, str] = {Verdict.WARN: "external_id_missing", Verdict.BAD: "chain_broken"}


def caller(patient: Patient) -> Iterator[Finding]:
    """Who the broker is to AWS. ``GetCallerIdentity`` needs no permission and gives nothing; CloudTrail has a line of it."""
    aws = patient.settings.aws
    _require_keys(patient)
    if aws.web_identity_issuer is not None:
        raise NotSeen("the broker has none: AWS believes its tokens, which only a chain shows")
    try:
        yield ok(caller_of(patient.settings, clock=patient.clock))
    except ConfigurationError as error:
        raise NotSeen("they cannot be read") from error
    except StsError as error:
        code = "aws_unreachable" if error.reason in _UNREACHABLE else "aws_credentials_refused"
        fix = "aws sts get-caller-identity, with the broker's credentials"
        yield bad(code, f"{aws.credentials_provider}: {error.reason}", fix)


def external_ids(patient: Patient) -> Iterator[Finding]:
    """Which hops have none. Whether a role demands the one that it is sent, only a wrong try shows."""
    aws = patient.settings.aws
    first = 1 if aws.web_identity_issuer is not None else 0
    hops = {hop.arn.text: hop for role in patient.settings.roles.values() for hop in role.chain[first:]}
    for arn in sorted(arn for arn, hop in hops.items() if hop.external_id is None):
        fix = "set derive_external_id for the hop; zerotrust-admin trust-policy ROLE"
        yield warn("external_id_missing", f"{arn} is assumed without an external ID", fix)
    sent = sum(hop.external_id is not None for hop in hops.values())
    yield unseen(f"{sent} of {len(hops)} hops are sent one; whether the roles demand it is not tried here", _PROBE)


def chains(patient: Patient) -> Iterator[Finding]:
    """Each hop of each role, with the right external ID, for the shortest session there is, which is dropped; on record."""
    if not patient.may_assume:
        raise NotSeen("not tried: to assume a role leaves records here and in CloudTrail. To try them: --assume")
    _require_keys(patient)
    users = _users(patient)
    try:
        found = probe(patient.settings, clock=patient.clock, bends=False)
    except ConfigurationError as error:
        # Not the broker's account, most of all.
        raise NotSeen(str(error)) from error
    except AuditUnavailable as error:
        fix = "see the checks of disk and audit log; what is not recorded is not tried"
        yield bad("audit_unavailable", f"no record could be written: {error}", fix)
        return
    for each in found:
        roles = ", ".join(users.get(each.arn, ()))
        evidence = f"{each.arn} (role {roles}): {each.what}"
        yield Finding(each.level, evidence, each.fix, _CODES.get(each.level, ""))
    if not found:
        raise NotSeen("there are no roles")


def _users(patient: Patient) -> Mapping[str, Sequence[str]]:
    """Which roles have a hop."""
    found: dict[str, list[str]] = {}
    for name, role in patient.settings.roles.items():
        for hop in role.chain:
            found.setdefault(hop.arn.text, []).append(name)
    return found


def _require_keys(patient: Patient) -> None:
    """Without the unit's environment the SDK would find somebody else's keys, or ask the instance's service for them."""
    aws = patient.settings.aws
    if aws.credentials_provider == "environment" and (aws.access_key_id is None or aws.secret_key is None):
        raise NotSeen(
            "the broker's keys are in its environment, which is not seen here. Run the doctor as root, which becomes the broker"
        )
    state = patient.settings.state_directory
    if aws.credentials_secret is not None and patient.settings.secrets.provider == "integrated":
        # SQLite makes files beside the one that it opens, and whose they are decides who can use the vault.
        owner = state.stat().st_uid if state.is_dir() else None
        if owner != patient.uid:
            raise NotSeen(f"the broker's keys are in its vault, and {state} is not that of whoever looks")
