"""What a page has to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# Where a command stands in the list of all, in the order of the list.
CREDENTIALS = "Credentials"
ACCESS = "What you may have"
SECRETS = "Programs, and what they are given"
SIGN_IN = "Signing in"
SET_UP = "Set up and help"
SECTIONS = (CREDENTIALS, ACCESS, SECRETS, SIGN_IN, SET_UP)


class Page:
    """One command's.

    Attributes:
        section: Where it stands in the list, one of ``SECTIONS``.
        summary: A line for the list, without a capital and a full stop: ``print who you are to the broker``.
        text: What there is to know besides: paragraphs between blank lines, broken anew by whoever shows them.
        options: Its own options: what stands behind each and what it does. What stands behind is also what completion offers:
            ``ROLE`` a role's name, ``FILE`` a file, ``DIR`` a folder, ``a|b|c`` one of these, anything else nothing; empty for
            a switch.
        words: The words that stand alone, by their names in ``COMMANDS`` without brackets, and what each is. A name counts for
            completion as above: ``role`` a role's name, ``file``, ``dir``, ``a|b|c``.
        behind: What stands behind ``--``, where the command takes that; completion offers programs for ``COMMAND``.
        examples: Command lines and what each does. They are read by a test, so they have to be right.
    """

    def __init__(
        self,
        *,
        section: str,
        summary: str,
        text: str = "",
        options: Mapping[str, tuple[str, str]] | None = None,
        words: Mapping[str, str] | None = None,
        behind: str = "COMMAND",
        examples: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.section = section
        self.summary = summary
        # Paragraphs, each on one line.
        self.text = [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]
        self.options = options or {}
        self.words = words or {}
        self.behind = behind
        self.examples = examples
