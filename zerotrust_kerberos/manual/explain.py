"""The page of ``zerotrust explain``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import ACCESS, Page

PAGE = Page(
    section=ACCESS,
    summary="say what stands between you and a role",
    text="""
    The verdict is allowed, step_up (a stronger or fresher sign-in), approval (a reason, or others' consent) or denied, with a
    hint and a command to run. Nothing is handed out. Of a role that is for others the answer is the same as of one that does
    not exist.

    The exit status is that of asking for the role: 0 allowed, 7 step_up or approval, 4 denied.
    """,
    words={"role": "the role; without it, all that there are for you, a line each"},
    examples=(
        ("zerotrust explain administrator", "why you do not get it, or that you do"),
        ("zerotrust explain", "the same for each role, in short"),
    ),
)
