"""The page of ``zerotrust help``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import SET_UP, Page

PAGE = Page(
    section=SET_UP,
    summary="explain a command, or the code in brackets of a line that failed",
    words={"what": "a command or a code; without it, the list of commands"},
    examples=(
        ("zerotrust help", "all commands"),
        ("zerotrust help fetch", "one command: the same as `zerotrust fetch --help`"),
        ("zerotrust help no_ticket", "what the code no_ticket means and what to do"),
    ),
)
