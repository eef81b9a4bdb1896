"""A file of golden cases for ``zerotrust-admin policy test``: who asks for which role, and what must come of it.

It is read as strictly as the configuration: unknown and duplicate keys, aliases and unquoted numbers are faults.
"""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from broker.config import yaml_source
from broker.config.explain import problems
from broker.config.fault import Problem, fault
from broker.config.section import Section
from broker.config.values import AsText, Duration
from broker.core.errors import ConfigurationError
from broker.core.principal import is_printed_name
from broker.core.rule import Address


def _principal(text: str) -> str:
    if not is_printed_name(text):
        raise fault("is not a principal", "write name@REALM or name/instance@REALM", shown=text)
    return text


def parse_address(text: str) -> Address:
    """One IP address, as the broker takes a client's: an IPv4 client of a socket for both families is an IPv4 client."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise fault("is not an IP address", "write 10.1.2.3 or fd00::1", shown=text) from None
    return getattr(address, "ipv4_mapped", None) or address


class Case(Section):
    """One asker, one role, one expectation."""

    name: Annotated[str, AsText(str)] | None = Field(default=None, description="What the case is about.")
    principal: Annotated[str, AsText(_principal)] = Field(description="Who asks, as `klist` prints them.")
    groups: tuple[Annotated[str, AsText(str)], ...] = Field(default=(), description="As rules name them.")
    address: Annotated[Address, AsText(parse_address)] | None = Field(
        default=None, description="Where from. Without it: a local socket, which is in no network."
    )
    indicators: tuple[Annotated[str, AsText(str)], ...] = Field(default=(), description="Those of the ticket.")
    ticket_age: Duration | None = Field(default=None, description="Since they authenticated. Without it: just now.")
    channel_bound: bool = Field(default=False, description="Whether the ticket is bound to the connection.")
    job_pass_age: Duration | None = Field(
        default=None, description="How long ago the ticket was shown, where a job pass asks. Without it: a ticket does."
    )
    reason: Annotated[str, AsText(str)] | None = Field(default=None, description="What they state.")
    approved: bool = Field(default=False, description="Whether as many have approved as are asked for.")
    broken_glass: bool = Field(default=False, description="Whether they broke the glass.")
    role: Annotated[str, AsText(str)] = Field(description="What they ask for.")
    scope: Annotated[str, AsText(str)] | None = Field(default=None, description="And which scope of it.")
    expect: Literal["allow", "deny", "step_up", "approval"] = Field(description="What must come of it.")
    rule: Annotated[str, AsText(str)] | None = Field(default=None, description="The rule that must give it.")

    @property
    def age(self) -> timedelta:
        """Of the ticket."""
        return self.ticket_age or timedelta(0)


class Cases(Section):
    """The whole file."""

    cases: tuple[Case, ...] = Field(min_length=1, description="The cases.")


def load_cases(path: Path) -> list[tuple[str, Case]]:
    """Each case with its place, such as ``cases.yaml:3``.

    Raises:
        ConfigurationError: With every problem found, a line each.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        what = f"cannot be read ({error.strerror if isinstance(error, OSError) else 'not UTF-8'})"
        raise ConfigurationError([str(Problem(str(path), (), what, "name a file of cases"))]) from None
    tree = yaml_source.parse(text, name=str(path), environ={})
    found = list(tree.problems)
    try:
        cases = Cases.model_validate(tree.data).cases
    except ValidationError as error:
        found += problems(error, Cases, tree)
    if found:
        raise ConfigurationError([str(problem) for problem in found]) from None
    return [(tree.origin(("cases", place)).place, case) for place, case in enumerate(cases)]
