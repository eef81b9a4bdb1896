"""The broker's own AWS credentials, as a test gives and takes them."""

from __future__ import annotations

from botocore.credentials import ReadOnlyCredentials

from tests.fakes.aws import KEY, KEY_ID


class Keys:
    """``next``: what a look finds after AWS refused those there are."""

    def __init__(self) -> None:
        self.now: object = ReadOnlyCredentials(KEY_ID, KEY, None)
        self.next: ReadOnlyCredentials | None = None
        self.renewed = 0

    async def current(self) -> object:
        if isinstance(self.now, Exception):
            raise self.now
        return self.now

    async def renew(self) -> None:
        self.renewed += 1
        self.now = self.next or self.now
