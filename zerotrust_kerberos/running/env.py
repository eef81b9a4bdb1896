"""``zerotrust env``: a role's credentials as lines for a shell, a dotenv file or a program.

They end within the hour and nothing renews them: this is for what can do no better than ``exec`` or ``credential-process``.
"""

from __future__ import annotations

import os

from broker import wire
from zerotrust_kerberos import output, times
from zerotrust_kerberos.credential_process import members_of, obtained, process_line
from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.running import shells, variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zerotrust_kerberos.commands import Call

_DEFAULT = "env"


def command(call: Call) -> str:
    """The lines, without the last line feed.

    Raises:
        Failure: ``usage``, or no credentials were given.
    """
    form = call.options.get("format", _DEFAULT)
    if form not in shells.FORMATS:
        raise Failure("usage", f"--format is one of {', '.join(shells.FORMATS)}", fix="zerotrust help env")
    if "unset" in call.switches:
        return shells.unsetting(form, tuple(variables.KEYS))
    settings = call.asking_for_role()
    body = obtained(settings, call.watch)
    if form == "process":
        return process_line(body)
    ours = variables.given(members_of(body, wire.PROCESS_MEMBERS))
    ends = times.seconds(ours["AWS_CREDENTIAL_EXPIRATION"])
    output.tell(f"{settings.role} until {times.until(ends)}; nothing renews these keys")
    return shells.setting(form, ours, conflicting=variables.beside(os.environ, ours))
