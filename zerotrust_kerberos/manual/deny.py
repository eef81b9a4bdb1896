"""The page of ``zerotrust deny``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import ACCESS, Page

PAGE = Page(
    section=ACCESS,
    summary="end a request for a time box, or the box that it opened",
    text="""
    For those who may approve it, and for the one who asked. A denial counts whatever else was said, and for good.
    """,
    options={"--reason": ("TEXT", "why, for the record")},
    words={"id": "the request, as `zerotrust requests` prints it"},
    examples=(("zerotrust deny 5f0c2a7e9b1d4c3fa6e8d7b2c1f09e3d --reason 'not today'", "say no"),),
)
