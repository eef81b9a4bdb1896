"""The page of ``zerotrust exec``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import SECRETS, Page

PAGE = Page(
    section=SECRETS,
    summary="become a command, with secrets in its environment and nowhere else",
    options={
        "--secret": ("NAME=PATH[#FIELD]", "a variable and the secret it holds; may stand several times"),
        "--mask": ("github|gitlab|azure", "first tell the pipeline's log which values to hide"),
    },
    examples=(
        ("zerotrust exec --secret DB_PASSWORD=app/db#password -- ./migrate", "a program that reads DB_PASSWORD"),
    ),
)
