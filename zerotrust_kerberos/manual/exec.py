"""The page of ``zerotrust exec``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import SECRETS, Page

PAGE = Page(
    section=SECRETS,
    summary="become a command with a role's credentials, or with secrets, or both",
    text="""
    The command gets no keys, but an address on this machine where AWS programs of its own ask for them, as often as they like: a
    job may run for longer than keys live, for as long as you have a ticket. With the command the address is gone.

    Variables and profiles by which AWS programs would find other credentials first are kept from the command: AWS_PROFILE,
    AWS_ACCESS_KEY_ID and their like, and what the profile default of ~/.aws/config and ~/.aws/credentials says of credentials.

    The exit status is the command's; 127 if there is none of its name, 126 if it cannot be run.
    """,
    words={"role": "the role; that of the settings where none is named and no secret is asked for"},
    options={
        "--env": (
            "",
            "put keys into the environment, for what knows no other way: they end within the hour, nothing renews them",
        ),
        "--secret": ("NAME=PATH[#FIELD]", "a variable and the secret it holds; may stand several times"),
        "--mask": ("github|gitlab|azure", "first tell the pipeline's log which values to hide"),
        "--pass": ("TIME", "go on for so long when your ticket has ended, by a job pass made now: 12h"),
        "--scope": ("SCOPE", "a scope of the role"),
        "--reason": ("TEXT", "why, where the role wants to know; it is kept"),
    },
    examples=(
        ("zerotrust exec developer -- aws s3 ls", "one command as developer"),
        ("zerotrust exec deployer --reason 'CHG-7: release' -- terraform apply", "a longer one"),
        ("zerotrust exec --secret DB_PASSWORD=app/db#password -- ./migrate", "a program that reads DB_PASSWORD"),
    ),
)
