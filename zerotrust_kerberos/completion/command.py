"""``zerotrust completion SHELL``: the script for a shell; with ``-- WORDS...``, what it asks at TAB.

The answer is a line a candidate, ``text TAB what it is``; or one line that says what else goes there: ``:files``, ``:folders``,
or ``:program N``, a command of its own whose first word is the N-th, from 1.
"""

from __future__ import annotations

from zerotrust_kerberos.completion.offers import candidates
from zerotrust_kerberos.completion.scripts import SCRIPTS
from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zerotrust_kerberos.commands import Call


def command(call: Call) -> str:
    """The script, or the lines.

    Raises:
        Failure: There is no script for this shell.
    """
    shell = call.words[0]
    if shell not in SCRIPTS:
        what = f"there is completion for {', '.join(SCRIPTS)}"
        raise Failure("usage", what, fix="zerotrust help completion")
    if not call.program:
        return SCRIPTS[shell].rstrip("\n")
    # The first word is the program's own name, by which a shell knows it.
    found = candidates(call.program[1:])
    return found if isinstance(found, str) else "\n".join(f"{text}\t{what}".rstrip("\t") for text, what in found)
