"""A prompt that says something before the user's own, in the words of each shell, without touching the user's files.

What a shell reads at its start lies beside the endpoint's token, reads the user's own first, and goes with the endpoint.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The text is of letters, digits and signs that no prompt gives a meaning to (``settings``).
_BASH = """\
[ ! -r ~/.bashrc ] || . ~/.bashrc
__zerotrust_prompt() {{ case $PS1 in '{text}'*) ;; *) PS1='{text}'$PS1 ;; esac; }}
__zerotrust_prompt
PROMPT_COMMAND="${{PROMPT_COMMAND-}}
__zerotrust_prompt"
"""
# zsh looks for both files in ZDOTDIR; in between it has to be ours again.
_ZSHENV = """\
if [[ -n $ZEROTRUST_ZDOTDIR ]]; then ZDOTDIR=$ZEROTRUST_ZDOTDIR; else unset ZDOTDIR; fi
__zerotrust_folder=${${(%):-%x}:h}
[[ ! -r ${ZDOTDIR-$HOME}/.zshenv ]] || . ${ZDOTDIR-$HOME}/.zshenv
ZEROTRUST_ZDOTDIR=${ZDOTDIR-} ZDOTDIR=$__zerotrust_folder
"""
_ZSHRC = """\
if [[ -n $ZEROTRUST_ZDOTDIR ]]; then ZDOTDIR=$ZEROTRUST_ZDOTDIR; else unset ZDOTDIR; fi
unset ZEROTRUST_ZDOTDIR __zerotrust_folder
[[ ! -r ${{ZDOTDIR-$HOME}}/.zshrc ]] || . ${{ZDOTDIR-$HOME}}/.zshrc
__zerotrust_prompt() {{ [[ $PROMPT == '{text}'* ]] || PROMPT='{text}'$PROMPT }}
precmd_functions+=(__zerotrust_prompt)
"""
_FISH = (
    "functions -q fish_prompt; and functions -c fish_prompt __zerotrust_prompt; "
    "function fish_prompt; echo -n '{text}'; functions -q __zerotrust_prompt; and __zerotrust_prompt; end"
)
# POSIX shells read the file that ENV names, if they are interactive.
_SH = """\
ENV=$ZEROTRUST_ENV; unset ZEROTRUST_ENV
[ ! -r "$ENV" ] || . "$ENV"
PS1='{text}'$PS1
"""


class Prompt:
    """How a shell is started; of a shell that is not known, as it always is."""

    def __init__(self, kind: str, text: str) -> None:
        self._kind = kind
        self._text = text

    @property
    def files(self) -> dict[str, str]:
        """What has to lie in the folder, by name."""
        return {
            "bash": {"bashrc": _BASH.format(text=self._text)},
            "zsh": {".zshenv": _ZSHENV, ".zshrc": _ZSHRC.format(text=self._text)},
            "sh": {"shrc": _SH.format(text=self._text)},
        }.get(self._kind, {})

    def words(self, folder: str) -> Sequence[str]:
        """What stands behind the shell's name."""
        return {
            "bash": ("--rcfile", f"{folder}/bashrc"),
            "fish": ("--init-command", _FISH.format(text=self._text)),
        }.get(self._kind, ())

    def environment(self, folder: str, environ: Mapping[str, str]) -> dict[str, str]:
        """Variables that lead to the files, and to those of the user that they stand before."""
        if self._kind == "zsh":
            return {"ZDOTDIR": folder, "ZEROTRUST_ZDOTDIR": environ.get("ZDOTDIR", "")}
        return {"ENV": f"{folder}/shrc", "ZEROTRUST_ENV": environ.get("ENV", "")} if self._kind == "sh" else {}


# By the last step of a shell's path.
_KINDS = {"bash": "bash", "zsh": "zsh", "fish": "fish", **dict.fromkeys(("sh", "dash", "ash", "ksh", "mksh"), "sh")}


def for_shell(path: str, text: str) -> Prompt:
    """The prompt for the shell at ``path``."""
    return Prompt(_KINDS.get(path.rpartition("/")[2], ""), text)
