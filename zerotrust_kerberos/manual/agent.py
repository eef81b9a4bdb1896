"""The page of ``zerotrust agent``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import CREDENTIALS, Page

PAGE = Page(
    section=CREDENTIALS,
    summary="stay, and keep credentials ready",
    text="""
    As root: for all users of this machine, each by their own ticket. As anybody else: for your own programs. The other commands
    find it by themselves and ask it first; without it they go to the broker.

    It keeps credentials in memory only, renews those that are used, and gives nobody what somebody else was given.
    """,
    options={"--socket": ("FILE", "where to listen, if not at the usual place")},
    examples=(("zerotrust agent", "stays"),),
)
