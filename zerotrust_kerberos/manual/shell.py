"""The page of ``zerotrust shell``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import SECRETS, Page

PAGE = Page(
    section=SECRETS,
    summary="start a shell whose programs are a role",
    text="""
    Your own shell (SHELL) with your own settings, and before its prompt the role and when your ticket ends. What runs in it has
    credentials as by zerotrust exec. It does not start inside another one: exit leaves it. Without a terminal it reads commands
    from stdin, as shells do.
    """,
    words={"role": "the role; that of the settings where none is named"},
    options={
        "--pass": ("TIME", "go on for so long when your ticket has ended, by a job pass made now: 12h"),
        "--scope": ("SCOPE", "a scope of the role"),
        "--reason": ("TEXT", "why, where the role wants to know; it is kept"),
    },
    examples=(("zerotrust shell developer", "work as developer until exit"),),
)
