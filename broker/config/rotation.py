"""The section `encryption.rotation`: how old a key may become."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from broker.config.fault import fault
from broker.config.section import Section
from broker.config.values import Duration, duration_text

# A version needs moments to reach everybody, and each is kept for as long as what it sealed; ten years is a typing error.
_SHORTEST, _LONGEST = timedelta(hours=1), timedelta(days=3650)


def _sensible(age: timedelta) -> timedelta:
    if not _SHORTEST <= age <= _LONGEST:
        raise fault("is no age to change keys at", "write 1h to 3650d", shown=duration_text(age))
    return age


Age = Annotated[Duration, AfterValidator(_sensible)]


class Rotation(Section):
    """How old keys may become before others follow them; what they sealed still opens, and is sealed anew."""

    master: Age = Field(
        default=timedelta(days=90),
        description="The master key. One that rotates where it lies is told to; of any other `zerotrust-admin keys status` "
        "says that it is due.",
    )
    data: Age = Field(default=timedelta(days=30), description="What seals everything that is kept.")
    session: Age = Field(default=timedelta(hours=24), description="What seals sessions and job passes.")
