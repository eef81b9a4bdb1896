"""The questions behind the controls, put to the facts: pass, fail or not covered, with what shows it.

*Not covered* is an answer: nobody configured it, nothing of the kind happened, or nobody looked. It never counts as a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from broker.reports.answer import Answer, Verdict, counted
from broker.reports.facts import Facts, KeyAge, Setup

# AWS ends role chaining there, and so does what this product promises.
_SHORT = timedelta(hours=1)
# The schedule of the product's own guide.
_MASTER_KEY = timedelta(days=90)
# PCI DSS 4.0.1, 10.5.1: a year of logs.
_KEPT = timedelta(days=365)

Check = Callable[[Facts], Answer]

_NO_SETUP = Answer(Verdict.NOT_COVERED, "No configuration was given.")


def _asks_setup(check: Callable[[Setup], Answer]) -> Check:
    def asked(facts: Facts) -> Answer:
        return _NO_SETUP if facts.setup is None else check(facts.setup)

    asked.__name__ = check.__name__
    return asked


def _passed(sentence: str, *evidence: str) -> Answer:
    return Answer(Verdict.PASS, sentence, evidence)


def _failed(sentence: str, *evidence: str) -> Answer:
    return Answer(Verdict.FAIL, sentence, evidence)


def _open(sentence: str, *evidence: str) -> Answer:
    return Answer(Verdict.NOT_COVERED, sentence, evidence)


def _none_of(bad: Iterable[str], *, good: str, otherwise: str) -> Answer:
    found = tuple(bad)
    return _failed(otherwise, *found) if found else _passed(good)


# --- who, and what they may ------------------------------------------------------------------------------------------


def named_users(facts: Facts) -> Answer:
    """Every set of credentials handed out names one person, realm included."""
    if not facts.log.given and not facts.log.without_name:
        return _open("Nobody was given credentials in the period.")
    if facts.log.without_name:
        return _failed(f"Credentials were handed out to nobody in particular: {facts.log.without_name}.")
    people = len({user for user, _ in facts.log.given})
    return _passed(f"Each set of credentials was handed out to one Kerberos principal by name: {people} in the period.")


@_asks_setup
def least_privilege(setup: Setup) -> Answer:
    """No rule gives a role to everybody of a realm."""
    bad = (
        f"rule {rule.name}: everybody of {', '.join(rule.everybody_of)} may have {', '.join(rule.roles)}"
        for rule in setup.rules
        if rule.everybody_of
    )
    good = f"What no rule allows is denied; people or groups are named by {counted(len(setup.rules), 'rule')}."
    return _none_of(bad, good=good, otherwise="Rules give roles to everybody of a realm.")


@_asks_setup
def stronger_than_a_password(setup: Setup) -> Answer:
    """Every rule asks for a ticket that was obtained with more than a password."""
    if not setup.rules:
        return _open("No rule gives anything.")
    bad = (f"rule {rule.name}: {', '.join(rule.roles)}" for rule in setup.rules if not rule.indicators)
    good = "Every rule demands an authentication indicator of the KDC (RFC 8129), such as pkinit or otp."
    return _none_of(bad, good=good, otherwise="A password's ticket is enough for these; the KDC may still demand more.")


@_asks_setup
def strong_operators(setup: Setup) -> Answer:
    """Operators are named, and need more than a password."""
    if not setup.operators:
        return _open("Nobody operates the broker over the network or its socket.")
    asked = [f"indicators: {', '.join(setup.operators_indicators)}"] if setup.operators_indicators else []
    asked += ["requests are signed with registered keys"] if setup.operators_sign else []
    if not asked:
        return _failed("Operators come with a password's ticket and unsigned requests.", *setup.operators)
    return _passed("Operators are named one by one and need more than a password.", *setup.operators, *asked)


@_asks_setup
def approvals(setup: Setup) -> Answer:
    """Some roles need a second person."""
    needing = [
        f"rule {rule.name}: {rule.approvals} for {', '.join(rule.roles)}" for rule in setup.rules if rule.approvals
    ]
    if not needing:
        return _open("No rule asks for an approval.")
    return _passed("These need the approval of others, each with a ticket of their own.", *needing)


def emergency_access(facts: Facts) -> Answer:
    """There is a way in for emergencies, and each use of it was reviewed."""
    if facts.setup is None:
        return _NO_SETUP
    ways = [f"rule {rule.name}: {', '.join(rule.roles)}" for rule in facts.setup.rules if rule.break_glass]
    if not ways:
        return _open("No rule is for emergencies.")
    used, reviewed = facts.log.events.get("break_glass", 0), facts.log.events.get("review_closed", 0)
    if reviewed < used:
        return _failed(f"Uses in the period: {used}; reviewed: {reviewed}.", *ways)
    return _passed(f"Every use was reviewed: {used} in the period.", *ways)


def denials(facts: Facts) -> Answer:
    """Failed attempts are on record, with why."""
    if not facts.log.refusals:
        return _open("Nobody was refused in the period.")
    most = sorted(facts.log.refusals.items(), key=lambda item: (-item[1], item[0]))
    return _passed("Every refusal is on record with its reason.", *(f"{reason}: {number}" for reason, number in most))


@_asks_setup
def brute_force(setup: Setup) -> Answer:
    """Somebody who tries again and again is slowed down."""
    if not setup.rate_limits:
        return _failed("No rate limit is set (server.rate_limit).")
    return _passed("Requests are limited.", *setup.rate_limits)


@_asks_setup
def replay(setup: Setup) -> Answer:
    """A recorded token is worth nothing."""
    evidence = (f"replay guard: {setup.replay_guard}", f"channel binding: {setup.channel_binding}")
    return _passed("Each Kerberos token counts once; an unreachable replay guard refuses.", *evidence)


@_asks_setup
def sessions_end(setup: Setup) -> Answer:
    """Sessions end by themselves."""
    lives = (f"{name}: {life}" for name, life in setup.session_lifetimes.items())
    return _passed("Sessions end by themselves and never outlive the ticket they were made with.", *lives)


def short_lived(facts: Facts) -> Answer:
    """What is handed out lives an hour at the most."""
    if facts.log.longest_life > _SHORT:
        return _failed(f"Credentials of up to {facts.log.longest_life} were handed out.")
    longer = (
        [f"{role.name}: {role.duration}" for role in facts.setup.roles if role.duration > _SHORT] if facts.setup else []
    )
    if longer:
        return _failed("These roles give more than an hour.", *longer)
    if facts.setup is None and not facts.log.given:
        return _NO_SETUP
    return _passed("Credentials live one hour at the most; none in the period lived longer.")


@_asks_setup
def cross_account(setup: Setup) -> Answer:
    """No role of another account is assumed without an external ID."""
    bad = (f"{role.name}: {hop}" for role in setup.roles for hop in role.unguarded)
    return _none_of(bad, good="Every hop sends an external ID.", otherwise="These hops send no external ID.")


@_asks_setup
def no_keys_at_rest(setup: Setup) -> Answer:
    """Which AWS keys the broker itself has."""
    if setup.aws_credentials == "web_identity":
        return _passed("The broker has no AWS keys: it signs tokens that AWS trusts.")
    return _open(f"The broker's own AWS credentials come from: {setup.aws_credentials}; how they are kept is yours.")


# --- on the way and at rest ------------------------------------------------------------------------------------------


@_asks_setup
def encrypted_in_transit(setup: Setup) -> Answer:
    """Nothing leaves the host in the clear."""
    if setup.tls_minimum is None:
        return _passed("The broker is reachable from its own host only.", *setup.listeners)
    offered = (f"at least {setup.tls_minimum}", *setup.tls_ciphers)
    return _passed("Addresses other than loopback speak TLS only.", *setup.listeners, *offered)


@_asks_setup
def encrypted_at_rest(setup: Setup) -> Answer:
    """What is kept is sealed."""
    where = f"Redis ({setup.redis})" if setup.redis else "the memory of the process"
    return _passed(f"Credentials are kept in {where}, sealed with AES-256-GCM, never on a disk in the clear.")


def key_ages(facts: Facts) -> Answer:
    """No key is older than it may be."""
    keys = [*facts.keys, *_master(facts)]
    if not keys:
        return _open("No key was looked at.")
    lines, late = [], []
    for key in keys:
        age = f"{counted(max(0, (facts.as_of - key.since).days), 'day')} old" if key.since else "of unknown age"
        until = f", good until {key.until:%Y-%m-%d}" if key.until else ""
        lines.append(f"{key.what}: {age}{until} ({key.source})")
        late += [lines[-1]] if key.until and key.until < facts.as_of else []
    if late:
        return _failed("Keys are in force longer than they may be.", *late)
    if any(key.since is None for key in keys):
        return _open("Of some keys it is not known how old they are.", *lines)
    return _passed("No key is older than it may be.", *lines)


def _master(facts: Facts) -> list[KeyAge]:
    """The encryption key: the records tell since when it is in force, for the key that signs them is derived from it."""
    if facts.setup is None:
        return []
    seen = facts.log.keys.get(facts.setup.audit_kid)
    since = datetime.fromisoformat(seen) if seen else None
    until = since + _MASTER_KEY if since else None
    return [KeyAge("encryption key", since=since, until=until, source="the first record signed with it; 90 days")]


@_asks_setup
def boundary(setup: Setup) -> Answer:
    """Only known networks may connect."""
    if not setup.allowed_networks:
        return _open("Any address may connect (server.allowed_networks); what your network keeps out is yours.")
    return _passed("Only listed networks may connect.")


@_asks_setup
def accounts_limited(setup: Setup) -> Answer:
    """Only listed AWS accounts can be reached."""
    if not setup.allowed_accounts:
        return _failed("Any AWS account may be named by a role (aws.allowed_accounts).")
    return _passed("Roles lead into listed accounts only.", *setup.allowed_accounts)


# --- the record ------------------------------------------------------------------------------------------------------


def recorded(facts: Facts) -> Answer:
    """Nothing was fetched from AWS without a record before it."""
    if not facts.log.records:
        return _open("There are no records in the period.")
    if facts.log.without_intent:
        return _failed(f"Credentials were made without an intent on record before: {facts.log.without_intent}.")
    events = (f"{event}: {number}" for event, number in sorted(facts.log.events.items()))
    return _passed("Every use of AWS was on record before it happened, and every outcome after it.", *events)


def record_contents(facts: Facts) -> Answer:
    """Records say who, what, when, where from and with what end."""
    if not facts.log.records:
        return _open("There are no records in the period.")
    if facts.log.incomplete:
        return _failed(f"Records that lack a member that every record has: {facts.log.incomplete}.")
    return _passed(
        f"Every record ({facts.log.records}) says who, what, when, from where, upon what, and with what end."
    )


def untampered(facts: Facts) -> Answer:
    """The log verifies with public keys alone."""
    if facts.verified is None:
        return _open("The signatures were not checked: no key was given (--jwks).")
    if facts.verified.findings:
        return _failed("The log does not verify.", *facts.verified.findings)
    found = f"{counted(facts.verified.records, 'record')} and {counted(facts.verified.checkpoints, 'checkpoint')}"
    return _passed(f"Signatures, chain and checkpoints verify: {found}.")


def kept(facts: Facts) -> Answer:
    """Records of a year are there, or all there ever were."""
    if facts.log.first is None:
        return _open("There are no records in the period.")
    if not facts.log.begins_late:
        return _passed(f"All records since the first ({facts.log.first[:10]}) are there; nothing was deleted.")
    span = facts.as_of - datetime.fromisoformat(facts.log.first)
    late = (f"{instance} begins at record {seq}" for instance, seq in sorted(facts.log.begins_late.items()))
    if span >= _KEPT:
        return _passed(f"Records of {counted(span.days, 'day')} are here; older ones lie elsewhere.", *late)
    return _open(
        f"Records of {counted(span.days, 'day')} are here; whether older ones are archived was not shown.", *late
    )


def copied_elsewhere(facts: Facts) -> Answer:
    """The record exists where the broker's administrator cannot reach it."""
    if facts.setup is None:
        return _NO_SETUP
    where = (*(f"sink: {sink}" for sink in facts.setup.sinks), *(f"witness: {one}" for one in facts.setup.witnesses))
    if not where:
        return _failed("Records and checkpoints lie on the broker's host alone (audit.sinks, audit.witnesses).")
    return _passed("Records or checkpoints leave the host as they are made.", *where)


def clocks(facts: Facts) -> Answer:
    """Timestamps run forward."""
    if not facts.log.records:
        return _open("There are no records in the period.")
    if facts.log.clock_went_back:
        return _failed(f"The clock went back by more than a second: {facts.log.clock_went_back} times.")
    return _open("Timestamps run forward; that the clock is synchronised is shown by your time service.")


def changes(facts: Facts) -> Answer:
    """Changes of the policy are on record."""
    made = [item for item in facts.log.notable if item["event"] in ("config_reloaded", "config_refused")]
    if not made:
        return _open("The policy was not changed while the broker ran; starts are on record as broker_start.")
    shown = (f"{item['timestamp']} {item['event']}" for item in made)
    return _passed("Each change of roles and rules is on record; a bad file changes nothing.", *shown)


# --- noticing and answering ------------------------------------------------------------------------------------------


def watched(facts: Facts) -> Answer:
    """Unusual use is noticed, and somebody hears of it."""
    if facts.setup is None:
        return _NO_SETUP
    if not (facts.setup.channels or facts.setup.sinks):
        return _failed("Unusual use is noticed, and nobody hears of it (security.breach_notification, audit.sinks).")
    raised = (f"{name}: {number}" for name, number in sorted(facts.log.alerts.items()))
    return _passed(f"Unusual use raises alarms: {sum(facts.log.alerts.values())} in the period.", *raised)


def nothing_alarming(facts: Facts) -> Answer:
    """No sign of an attack is on record."""
    bad = [
        f"{name}: {facts.log.events[name]}"
        for name in ("cache_tamper", "vault_tamper", "external_id_not_enforced")
        if name in facts.log.events
    ]
    if not facts.log.records:
        return _open("There are no records in the period.")
    if bad:
        return _failed("Records of attacks, or of doors that stand open, want an answer.", *bad)
    return _passed("No tampering with cache or vault and no role without its external ID is on record.")


def told(facts: Facts) -> Answer:
    """People are told of a breach."""
    if facts.setup is None:
        return _NO_SETUP
    if not facts.setup.channels:
        return _failed("Nobody is told of anything (security.breach_notification).")
    sent, lost = facts.log.events.get("notified", 0), facts.log.events.get("notification_failed", 0)
    if lost:
        return _failed(f"Notifications that reached nobody: {lost}.", *facts.setup.channels)
    if not sent:
        return _open("Channels are configured; nothing was sent in the period, not even a test.", *facts.setup.channels)
    return _passed(f"Every notification was delivered: {sent} in the period.", *facts.setup.channels)


def revocable(facts: Facts) -> Answer:
    """Access can be taken back, and was where it was tried."""
    done = facts.log.events.get("access_revoked", 0)
    if facts.log.revocations_unheard:
        return _failed(
            f"Revocations that not every instance confirmed within a second: {facts.log.revocations_unheard}."
        )
    if not done:
        return _open("Nothing was revoked in the period: that it works was not shown here.")
    at_aws = "denied at AWS too" if facts.setup and facts.setup.aws_revocation else "what AWS had handed out ran on"
    return _passed(f"Every revocation was confirmed by every instance: {done} in the period; {at_aws}.")


def secrets_restorable(facts: Facts) -> Answer:
    """A backup of the vault was read back whole, by ``zerotrust-admin secrets verify-backup``."""
    good = facts.log.events.get("secrets_backup_verified", 0)
    bad = facts.log.events.get("secrets_backup_bad", 0)
    if good:
        of = f"; {bad} did not, and another copy was taken" if bad else ""
        return _passed(f"Backups of the vault that were read back whole in the period: {good}{of}.")
    if bad:
        return _failed(f"Backups of the vault that could not be read back: {bad}, and none that could.")
    if facts.log.records and not facts.log.events.get("secret_access", 0):
        return _passed("Nobody asked the vault for anything in the period.")
    return _open("No backup of the vault was tried in the period (zerotrust-admin secrets verify-backup).")


def restorable(facts: Facts) -> Answer:
    """The record was restored from a backup and verifies."""
    restored = facts.restored
    if restored is None:
        return _open("No restored copy was shown (--restored DIRECTORY): backups are untested.")
    if restored.findings:
        return _failed("The restored copy does not verify.", *restored.findings)
    if not restored.records:
        return _failed("The restored copy holds no record.")
    of = f" of {facts.verified.records}" if facts.verified else ""
    return _passed(f"A copy restored from a backup verifies: {counted(restored.records, 'record')}{of}.")
