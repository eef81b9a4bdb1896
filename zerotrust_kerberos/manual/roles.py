"""The page of ``zerotrust roles``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import ACCESS, Page

PAGE = Page(
    section=ACCESS,
    summary="list the roles you may have",
    options={"--json": ("", "the broker's answer as it is")},
    examples=(("zerotrust roles", "the roles, one a line"),),
)
