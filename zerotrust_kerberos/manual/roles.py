"""The page of ``zerotrust roles``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import ACCESS, Page

PAGE = Page(
    section=ACCESS,
    summary="list the roles you may have",
    text="""
    The columns are: role, account, its alias, `production` or nothing, scopes, what the role needs besides a ticket
    (reason, approval, break_glass), and, but for a terminal, its ARN. In a pipe they are separated by tabs and are always
    all there, without a head.
    """,
    examples=(
        ("zerotrust roles", "the roles, one a line"),
        ("zerotrust roles | cut -f1", "their names alone, in a script"),
        ("zerotrust roles --format csv", "for a spreadsheet, with a head"),
    ),
)
