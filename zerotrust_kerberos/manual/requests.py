"""The page of ``zerotrust requests``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import ACCESS, Page

PAGE = Page(
    section=ACCESS,
    summary="list your requests for a time box, and those you may decide on",
    text="""
    The latest is first. The columns are: id, state (pending, open, ended, expired, denied, void), user, role, until when
    the box is open or the request waits, approvals, `mine` or `decide`, and the reason.
    """,
    examples=(("zerotrust requests", "what waits, and what is open"),),
)
