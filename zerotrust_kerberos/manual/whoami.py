"""The page of ``zerotrust whoami``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import ACCESS, Page

PAGE = Page(
    section=ACCESS,
    summary="print who you are to the broker, and how long your ticket lasts",
    text="""
    On a terminal the time left stands behind the ticket's end; in a pipe the line `ticket_seconds_left` has it as a number. Where
    keys are in the environment (AWS_CREDENTIAL_EXPIRATION) the same is said of them: `keys_end`, `keys_seconds_left`.
    """,
    examples=(
        ("zerotrust whoami", "your principal, when your ticket ends, the accounts you may reach"),
        ("zerotrust whoami --json", "the broker's answer as it is"),
    ),
)
