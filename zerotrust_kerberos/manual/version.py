"""The page of ``zerotrust version``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import SET_UP, Page

PAGE = Page(section=SET_UP, summary="print the version", examples=(("zerotrust version", "zerotrust and its version"),))
