"""What all sections of the configuration have in common: nothing is guessed, folded or ignored, and nothing is shown."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Frozen and strict; an unknown key is an error, and an error does not repeat what it was given."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )
