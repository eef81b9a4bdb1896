"""The section `audit`: where records are kept."""

from __future__ import annotations

from pydantic import Field

from broker.config.section import Section
from broker.config.values import AbsolutePath


class Audit(Section):
    """The record of every attempt."""

    directory: AbsolutePath = Field(
        description="The folder of the record files; the broker must be able to write there."
    )
