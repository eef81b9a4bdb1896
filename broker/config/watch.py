"""The section `watch`: what is unusual, and what follows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from broker.config.fault import fault
from broker.config.section import Section
from broker.config.values import ReadableFile

_Answer = Literal["none", "step_up", "hold"]


class Respond(Section):
    """What follows an alert that is more than low, for each kind: `step_up` asks for a newer ticket, `hold` for an operator."""

    unusual_volume: _Answer = Field(default="none", description="Far more of a role in an hour than usual.")
    unusual_hour: _Answer = Field(default="none", description="At a time of day at which they are never there.")
    new_network: _Answer = Field(default="none", description="From a network that is new for them.")
    new_role: _Answer = Field(default="none", description="A role that they never used.")
    impossible_travel: _Answer = Field(default="none", description="At two places faster than anybody travels.")
    denial_burst: _Answer = Field(default="none", description="Refused again and again.")
    reuse_of_revoked: _Answer = Field(default="none", description="What was revoked or cancelled is shown.")
    reuse_of_expired: _Answer = Field(default="none", description="What has expired is shown.")


def _can_happen(respond: Respond, info: ValidationInfo) -> Respond:
    """Nobody is to believe that somebody is held by an alert that is never raised."""
    if respond.impossible_travel != "none" and info.data.get("geoip_database", ...) is None:
        what = "has an answer to impossible_travel, which nobody notices without watch.geoip_database"
        raise fault(what, "name a City database as geoip_database, or leave impossible_travel out")
    return respond


class Watch(Section):
    """Who does what nobody expects of them. Alerts are records of the audit log; what each one needs: [The watch](watch.md)."""

    geoip_database: ReadableFile | None = Field(
        default=None,
        description="A City database in MaxMind's format (.mmdb), for impossible travel; taken over when it changes. "
        "Without it: no such alerts.",
    )
    respond: Annotated[Respond, AfterValidator(_can_happen)] = Field(
        default=Respond(), description="What follows an alert."
    )
