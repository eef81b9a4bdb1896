"""The page of ``zerotrust serve``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import CREDENTIALS, Page

PAGE = Page(
    section=CREDENTIALS,
    summary="stay, and give credentials by an endpoint",
    text="""
    Prints lines for the shells of the programs, and stays until it is ended. The programs get an address and a token, and ask
    when they need credentials, so they may run for longer than credentials last.

    Only programs of your own user are answered, and only with the token. With --imds also without it: by the protocol of an
    instance's metadata service, version 2.
    """,
    options={
        "--role": ("ROLE", "the role"),
        "--scope": ("SCOPE", "a part of it"),
        "--reason": ("TEXT", "why, for the record"),
        "--token": (
            "file|environment",
            "print the name of a file with the token, or, for AWS CLI 2.9 and older, the token",
        ),
        "--pass": ("TIME", "go on for so long when your ticket has ended, by a job pass made now: 12h"),
        "--imds": ("", "be an instance's metadata service too"),
    },
    examples=(("zerotrust serve --role developer", "prints the lines, and stays"),),
)
