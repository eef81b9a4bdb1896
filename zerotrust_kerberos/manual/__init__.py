"""What the commands do, in words: a page a command, from which help, completion and manual pages are made.

The page of ``some-command`` is ``PAGE`` of ``manual/some_command.py``. Which options and words there are stands in
``commands`` alone; a page says what they mean.
"""

from __future__ import annotations

import importlib

from zerotrust_kerberos.commands import COMMANDS
from zerotrust_kerberos.manual.page import Page

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# By key of a settings file; in the environment ZEROTRUST_ and the key in capitals.
SETTINGS: Mapping[str, str] = {
    "broker_url": "where the broker is: https://HOST[:PORT], http://HOST[:PORT] (this machine only) or unix:/PATH",
    "ca_file": "certificates to trust instead of the system's",
    "role": "the role, where none is named",
    "timeout": "seconds for everything together, at most 10",
    "host": "the broker's name, for unix: only; the machine's own unless given",
    "spn": "the broker's service name; HTTP@ and the host of broker_url unless given",
    "agent": "the socket of an agent; /run/zerotrust-agent/agent.sock or the user's own unless given, if there is one",
}

# What several commands take.
SHARED_OPTIONS: Mapping[str, tuple[str, str]] = {
    "--format": ("table|tsv|json|csv", "how to print; a table on a terminal, columns behind tabs elsewhere"),
    "--json": ("", "the same as --format json"),
    "--broker": ("URL", "https://HOST[:PORT], http://HOST[:PORT] (this machine only) or unix:/PATH"),
    "--ca-file": ("FILE", "certificates to trust instead of the system's"),
    "--timeout": ("SECONDS", "for everything together, at most 10"),
}


def of(name: str) -> Page:
    """The page of a command of ``COMMANDS``."""
    module = importlib.import_module(f"zerotrust_kerberos.manual.{name.replace('-', '_')}")
    found: Page = module.PAGE
    return found


def options(name: str) -> dict[str, tuple[str, str]]:
    """What each option of a command wants and does, its own first: ``{"--role": ("ROLE", "the role")}``."""
    taken, own = COMMANDS[name].options, of(name).options
    shared = {option: words for option, words in SHARED_OPTIONS.items() if option in taken and option not in own}
    return {**own, **shared}
