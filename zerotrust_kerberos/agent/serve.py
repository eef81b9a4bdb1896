"""``zerotrust serve``: an endpoint for the programs of one person, from now until it is ended."""

from __future__ import annotations

import asyncio
import shlex

from zerotrust_kerberos import output
from zerotrust_kerberos.agent.staying import stay
from zerotrust_kerberos.agent.supply import supply
from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zerotrust_kerberos.commands import Call

_TOKENS = ("file", "environment")


def command(call: Call) -> str:
    """Print ``export NAME=VALUE`` lines for the shells of the programs, and stay.

    Raises:
        Failure: There are no credentials, or no port or folder.
    """
    settings = call.settings()
    token = call.options.get("token", _TOKENS[0])
    if settings.role is None:
        raise Failure("usage", "serve needs --role", fix="zerotrust roles")
    if token not in _TOKENS:
        raise Failure("usage", f"--token is one of {', '.join(_TOKENS)}")
    wanted = supply(settings, scope=settings.scope, reason=settings.reason, job_pass=call.options.get("pass"))
    try:
        asyncio.run(
            stay(
                role=settings.role,
                supply=wanted,
                place=call.place,
                is_in_file=token == _TOKENS[0],
                has_imds="imds" in call.switches,
                ready=lambda environment: output.put("".join(map(_export, environment.items()))),
                told=_Talk(),
            )
        )
    except OSError as error:
        raise Failure("output_failed", error.strerror or type(error).__name__) from error
    return ""


def _export(variable: tuple[str, str]) -> str:
    name, value = variable
    return f"export {name}={shlex.quote(value)}\n"


class _Talk:
    """Says a line once, and again when another was said in between: an SDK asks three times."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, line: str) -> None:
        if line != self._last:
            output.say(f"{line}\n")
        self._last = line
