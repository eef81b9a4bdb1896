"""The page of ``zerotrust fetch``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import SECRETS, Page

PAGE = Page(
    section=SECRETS,
    summary="write secrets to files in memory",
    text="""
    Each word is [NAME=]PATH[#FIELD]: a file's name, the secret's path, and one field of it.
    """,
    options={
        "--to": ("DIR", "where to; it must be in memory (tmpfs), or say --disk"),
        "--renew": ("TIME", "stay, and do it again that often: 5m"),
        "--disk": ("", "take a folder that is not in memory"),
        "--mask": ("github|gitlab|azure", "first tell the pipeline's log which values to hide"),
    },
    words={"secret": "the secrets"},
    examples=(("zerotrust fetch --to /dev/shm/app db=app/db#password", "writes /dev/shm/app/db"),),
)
