"""The page of ``zerotrust logout``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import SIGN_IN, Page

PAGE = Page(
    section=SIGN_IN,
    summary="destroy your Kerberos tickets",
    text="""
    What runs by a job pass goes on, as it should over night; with --everywhere it does not. Credentials that AWS handed out
    already live on until they end, within the hour.
    """,
    options={
        "--all": ("", "those of all caches of yours, not of the default one alone"),
        "--everywhere": ("", "first end all sessions and job passes of yours at the broker, on every machine"),
    },
    examples=(
        ("zerotrust logout", "destroy the tickets of the default cache"),
        ("zerotrust logout --everywhere", "the laptop was stolen, or the job must not go on"),
    ),
)
