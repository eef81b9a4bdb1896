"""The page of ``zerotrust logout``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import SIGN_IN, Page

PAGE = Page(
    section=SIGN_IN,
    summary="destroy your Kerberos tickets",
    text="""
    Credentials that AWS handed out already live on until they end, within the hour.
    """,
    options={"--all": ("", "those of all caches of yours, not of the default one alone")},
    examples=(("zerotrust logout", "destroy the tickets of the default cache"),),
)
