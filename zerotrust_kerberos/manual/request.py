"""The page of ``zerotrust request``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import ACCESS, Page

PAGE = Page(
    section=ACCESS,
    summary="ask others to approve a time box for a role",
    text="""
    Prints the request's id and where it stands. Nobody is told of it: send the id to somebody who may approve it. With the
    last approval that is needed the box is open, and credentials for the role are handed out until it ends.
    """,
    options={
        "--role": ("ROLE", "the role"),
        "--reason": ("TEXT", "why; approvers read it, and it is kept"),
        "--scope": ("SCOPE", "a scope of the role"),
        "--duration": ("TIME", "for less than the rule allows: 30m, 2h"),
        "--break-glass": ("", "in an emergency, where a rule provides for it: open the box alone; it raises an alarm"),
    },
    examples=(
        ("zerotrust request --role administrator --reason 'INC-7: failover' --duration 30m", "ask for half an hour"),
    ),
)
