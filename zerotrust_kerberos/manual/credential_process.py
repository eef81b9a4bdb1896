"""The page of ``zerotrust credential-process``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import CREDENTIALS, Page

PAGE = Page(
    section=CREDENTIALS,
    summary="print credentials for a role, for credential_process of ~/.aws/config",
    text="""
    Prints one JSON object as the AWS tools want it: keys, session token and when they end. The tools ask again by
    themselves before that.

    It never prompts and ends within ten seconds, with credentials or with one line on stderr, which the AWS tools show as
    it is.
    """,
    options={
        "--role": ("ROLE", "the role; `zerotrust roles` lists yours"),
        "--scope": ("SCOPE", "a scope of the role, which gives less than the whole role"),
        "--reason": ("TEXT", "why, where the role's rule asks for it; also ZEROTRUST_REASON"),
    },
    examples=(
        ("zerotrust credential-process --role developer", "credentials for the role developer"),
        ("zerotrust credential-process --role developer --scope readonly", "for less of it"),
    ),
)
