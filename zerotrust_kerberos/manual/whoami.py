"""The page of ``zerotrust whoami``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import ACCESS, Page

PAGE = Page(
    section=ACCESS,
    summary="print who you are to the broker",
    options={"--json": ("", "the broker's answer as it is")},
    examples=(("zerotrust whoami", "your principal, and when your ticket ends"),),
)
