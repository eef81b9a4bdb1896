"""The page of ``zerotrust env``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import CREDENTIALS, Page

PAGE = Page(
    section=CREDENTIALS,
    summary="print a role's keys as variables, for a shell or a file",
    text="""
    In a shell: eval "$(zerotrust env ROLE)". In fish: zerotrust env ROLE --format fish | source. In PowerShell:
    zerotrust env ROLE --format powershell | Out-String | Invoke-Expression. In cmd.exe:
    for /f "delims=" %i in ('zerotrust env ROLE --format windows-cmd') do %i.

    The keys end within the hour and nothing renews them. Programs that find their credentials by themselves are better off with
    zerotrust exec, or with a profile that runs zerotrust credential-process.

    Variables by which AWS programs would find other credentials, such as AWS_PROFILE, are unset by the lines for a shell.
    """,
    words={"role": "the role; that of the settings where none is named"},
    options={
        "--format": (
            "env|env-no-export|fish|powershell|windows-cmd|dotenv|process|json",
            "for whom the lines are; env, for POSIX shells, unless given",
        ),
        "--unset": ("", "lines that take the variables away again; asks nobody"),
        "--scope": ("SCOPE", "a scope of the role"),
        "--reason": ("TEXT", "why, where the role wants to know; it is kept"),
    },
    examples=(
        ("zerotrust env developer", "lines for eval in a POSIX shell"),
        ("zerotrust env developer --format fish | source", "the same for fish"),
        ("zerotrust env developer --format dotenv", "lines for a file that docker, node and python-dotenv read"),
        ("zerotrust env --unset", "lines that take the keys away again"),
    ),
)
