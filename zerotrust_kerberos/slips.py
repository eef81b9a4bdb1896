"""Did you mean: the known name that a mistyped one is closest to. Loaded by a line that is wrong, and by nothing else."""

from __future__ import annotations

import difflib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Share of characters in common. Two letters of three that changed places ("evn") have 0.67; below that it is guessing.
_ALIKE = 0.66


def meant(word: str, known: Iterable[str]) -> str | None:
    """``whoami`` for ``whomi``, and for ``who``; None where nothing is close. Dashes of options do not make them alike."""
    names = {name.lstrip("-"): name for name in known}
    said = word.lstrip("-").lower()
    begun = [name for name in names if said and name.startswith(said)]
    found = begun if len(begun) == 1 else difflib.get_close_matches(said, names, n=1, cutoff=_ALIKE)
    return names[found[0]] if found else None
