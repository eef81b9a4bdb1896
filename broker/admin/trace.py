"""``zerotrust-admin audit trace``: who was behind a key, a request, a name, or a line of CloudTrail. Needs no broker."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from broker.admin.offline import config_option, fail, keys_of, settings_of
from broker.admin.records import json_line, line_of
from broker.audit.cloudtrail import NoCloudTrail, events_in
from broker.audit.led_back import Resolved, resolve
from broker.audit.search import Chain, chains_of
from broker.audit.trace import Asked, Shown, What, is_handed_out, is_revocation, minted_by, story
from broker.config.model import Settings
from broker.core.access_key import account_of, is_of_a_session
from broker.core.clock import Clock, SystemClock, rfc3339
from broker.core.visible import visible

EXIT_NOT_FOUND = 1
_STDIN = "-"


@click.command("trace")
@click.argument("asked", nargs=-1, metavar="[ASIA... | REQUEST | NAME | -]...")
@click.option(
    "--cloudtrail",
    "cloudtrail",
    type=click.File("rb"),
    help="Events of CloudTrail instead (a file, or - for the standard input): each is led back to its record.",
)
@click.option(
    "--from",
    "roots",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A record file or audit directory instead of the configured one; can be repeated.",
)
@click.option("--jwks", type=click.Path(path_type=Path), help="The public keys.")
@click.option(
    "--json", "as_json", is_flag=True, help="A JSON object a line: the records, and at the end what they come to."
)
@config_option
def audit_trace(
    *,
    asked: tuple[str, ...],
    cloudtrail: BinaryIO | None,
    roots: tuple[Path, ...],
    jwks: Path | None,
    as_json: bool,
    config: Path,
) -> None:
    """Tell the story behind a key, a request or a person, oldest first.

    Access key ids, ids of requests (X-Request-Id, the tag of an {event}) or of job passes, principals, session names, ARNs of
    sessions; - reads them from the standard input, one a line. Each record is shown with the word on its own
    signature; that none is missing is what `audit verify` says. Exit status 0: all were found. 1: not all.

    With --cloudtrail each event of a session, and each AssumeRole, is led back to its record: files as CloudTrail
    delivers them, lookup-events, single events, JSON lines. Where the configuration is read, roles that are not in it are
    passed over. Exit status 1: an event has no record, or none concerns the broker.
    """
    if bool(asked) is (cloudtrail is not None):
        raise click.UsageError("name an access key id, a request or a person; or --cloudtrail FILE")
    keys = keys_of(jwks, config)
    try:
        chains = chains_of(roots or [settings_of(config).audit.directory])
        if cloudtrail is not None:
            roles = None if roots and jwks else _roles(settings_of(config))
            sys.exit(0 if _lead_back(cloudtrail, chains, roles, as_json=as_json) else EXIT_NOT_FOUND)
        found = [_tell(Asked.parse(text), chains, keys, as_json=as_json) for text in _each(asked)]
    except OSError as error:
        fail(f"{error.filename}: {error.strerror} — fix: name record files or the audit directory, readable to you")
    except NoCloudTrail as error:
        fail(f"{_name(cloudtrail)}: {error} — fix: name a file of CloudTrail's events")
    except ValueError as error:
        fail(f"{jwks}: {error} — run: curl -o {jwks} https://BROKER/.well-known/jwks.json")
    sys.exit(0 if found and all(found) else EXIT_NOT_FOUND)


def _each(asked: Iterable[str]) -> Iterator[str]:
    for text in asked:
        if text == _STDIN:
            yield from (line.strip() for line in sys.stdin if line.strip())
        else:
            yield text


def _tell(asked: Asked, chains: list[Chain], jwks: Mapping[str, Any], *, as_json: bool) -> bool:
    """Print a story; whether there is one."""
    summary = Summary(asked)
    for shown in story(chains, asked, jwks=jwks):
        summary.add(shown)
        click.echo(json_line(_entry(shown)) if as_json else f"{_line(shown)}  [{_signature(shown)}]")
    if as_json:
        click.echo(json_line(summary.members()))
    else:
        for line in summary.lines(SystemClock()):
            click.echo(visible(line))
    return summary.records > 0


def _roles(settings: Settings) -> frozenset[str]:
    return frozenset(hop.arn.text for role in settings.roles.values() for hop in role.chain)


def _name(file: BinaryIO | None) -> str:
    return str(getattr(file, "name", None) or "standard input")


def _lead_back(file: BinaryIO, chains: list[Chain], roles: frozenset[str] | None, *, as_json: bool) -> bool:
    """Print what each event comes from; whether all come from somebody."""
    resolved, others = resolve(chains, events_in(file.read()), roles=roles)
    for one in resolved:
        click.echo(json_line(_event(one)) if as_json else visible(_led_back(one)))
    without = sum(one.record is None for one in resolved)
    recorded = len(resolved) - without
    click.echo(f"{recorded} events have their record, {without} have none, {others} are of others", err=True)
    return bool(resolved) and not without


def _event(one: Resolved) -> dict[str, Any]:
    happened = one.event
    return {
        "eventID": happened.id,
        "eventTime": rfc3339(happened.time) if happened.time else None,
        "eventName": happened.name,
        "caller": happened.caller,
        "error": happened.error,
        "by": one.by if one.record else None,
        "why_not": None if one.record else one.by,
        "record": one.record,
    }


def _led_back(one: Resolved) -> str:
    happened = one.event
    what = f"{happened.name} {happened.role or happened.source}{f' {happened.error}' if happened.error else ''}"
    line = f"{rfc3339(happened.time) if happened.time else '-'} {happened.id} {what} by {happened.caller}"
    if one.record is None:
        return f"NO RECORD {line}: {one.by}"
    said = one.record.get
    request = said("minted_by") or said("request_id")
    return (
        f"{line}: {said('user')} as {said('role')}, request {request}, {said('instance')}:{said('seq')} (by {one.by})"
    )


def _entry(shown: Shown) -> dict[str, Any]:
    return {"file": str(shown.found.path), "signature": shown.fault or "good", "record": shown.found.record}


def _line(shown: Shown) -> str:
    if shown.found.record is None:
        return f"{shown.found.path}: a line that is no record holds it"
    return line_of(shown.found.record)


def _signature(shown: Shown) -> str:
    return "signature good" if shown.fault is None else visible(f"BAD: {shown.fault}")


class Summary:
    """What the records of a story come to; of a person it keeps no more than the numbers."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.records = 0
        self.bad = 0
        self._given = 0
        self._intent: Mapping[str, Any] = {}
        self._first: Mapping[str, Any] = {}
        self._made_for: str | None = None
        self._revoked: Mapping[str, Any] = {}

    def add(self, shown: Shown) -> None:
        """Take in one record."""
        record = shown.found.says
        self.records += 1
        self.bad += shown.fault is not None
        if record.get("event") == "intent":
            self._intent = record
        elif is_handed_out(record):
            self._given += record.get("event") == "issued"
            self._first = self._first or record
            self._made_for = self._made_for or minted_by(record)
        elif is_revocation(record):
            self._revoked = record

    def members(self) -> dict[str, Any]:
        """For JSON."""
        said = self._first.get
        found = {
            "asked": self.asked.text,
            "what": self.asked.what.value,
            "found": self.records > 0,
            "records": self.records,
            "bad_signatures": self.bad,
        }
        if self.asked.what is What.NAME:
            return found | {"handed_out": self._given}
        return found | {
            "account_of_key": account_of(self.asked.text),
            "user": said("user"),
            "role": said("role"),
            "account": said("account"),
            "access_key_id": said("access_key_id"),
            "rule": self._intent.get("rule"),
            "minted_by": self._made_for,
            "handed_out": self._given,
            "expiration": said("expiration"),
            "last_revocation": {name: self._revoked.get(name) for name in ("timestamp", "event", "user", "about")}
            if self._revoked
            else None,
        }

    def lines(self, clock: Clock) -> Iterator[str]:
        """For people."""
        if not self.records:
            yield self._nothing()
            return
        if self.bad:
            yield f"{self.bad} of {self.records} records are not as they were signed: run zerotrust-admin audit verify"
        if self.asked.what is What.NAME:
            yield f"{self.asked.text}: {self.records} records, credentials handed out {self._given} times"
        elif self._first:
            said = self._first.get
            yield f"{said('access_key_id')}: {said('user')} as {said('role')} in account {said('account')}"
            yield f"  by {self._by()}; made for request {self._made_for}; handed out {self._given} times"
            yield f"  {self._ends(clock)}; {self._taken_away()}"

    def _nothing(self) -> str:
        key = self.asked.text
        if self.asked.what is not What.ACCESS_KEY:
            return f"{key}: no record"
        account = account_of(key)
        of = f" of account {account}" if account else ""
        if not is_of_a_session(key):
            return f"{key}: an AWS user's long-term key{of}; the broker hands out none"
        return f"{key}: an AWS key{of}, not handed out by this log"

    def _by(self) -> str:
        rule, via = self._intent.get("rule"), self._first.get("via")
        how = ", ".join(map(str, self._intent.get("indicators") or []))
        named = f"rule {rule}" if rule else "a rule that is not in these files"
        return f"{named}, {via}{f' ({how})' if how else ''}"

    def _ends(self, clock: Clock) -> str:
        expiration = str(self._first.get("expiration"))
        try:
            over = datetime.fromisoformat(expiration) <= clock.now()
        except (ValueError, TypeError):
            return f"ends {expiration}"
        return f"ended {expiration}" if over else f"GOOD UNTIL {expiration}"

    def _taken_away(self) -> str:
        if not self._revoked:
            return "nothing revoked since"
        said = self._revoked.get
        return f"last {said('event')} {said('timestamp')} by {said('user')}"
