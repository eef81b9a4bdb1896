"""The page of ``zerotrust approve``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import ACCESS, Page

PAGE = Page(
    section=ACCESS,
    summary="approve somebody else's request for a time box",
    text="""
    The role's rule says who may; nobody approves what they asked for themselves. With the last approval that is needed the
    box is open.
    """,
    words={"id": "the request, as `zerotrust requests` prints it"},
    examples=(("zerotrust approve 5f0c2a7e9b1d4c3fa6e8d7b2c1f09e3d", "say yes"),),
)
