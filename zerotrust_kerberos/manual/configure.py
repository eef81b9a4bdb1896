"""The page of ``zerotrust configure``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import SET_UP, Page

PAGE = Page(
    section=SET_UP,
    summary="write a profile for each of your roles into ~/.aws/config",
    text="""
    The profiles stand between two lines of comment. Nothing outside of them is changed, unless --from takes a profile over.
    Without --write, it only shows what would change.

    Template, region and output are remembered in the file. A key that you add to a profile stays. A profile whose role is not
    yours any more stays too, until --prune.

    Where a profile of the same name stands outside, or keys of that name in ~/.aws/credentials, nothing is written, and the line
    says where.
    """,
    options={
        "--diff": ("", "show what would change; so does nothing at all"),
        "--print": ("", "print the profiles"),
        "--write": ("", "change the file; what stood there before is kept beside it"),
        "--prune": ("", "take out profiles whose role is not yours any more"),
        "--template": (
            "TEMPLATE",
            "names of profiles: {role}, {account}, {alias}, {aws_role} and what you put between",
        ),
        "--region": ("REGION", "the region of new profiles; given again, of all"),
        "--output": ("json|text|table|yaml|yaml-stream|off", "the output of new profiles; given again, of all"),
        "--from": ("aws-vault|saml2aws|granted", "take over profiles of this tool that lead to a role of yours"),
    },
    examples=(
        ("zerotrust configure", "what would change"),
        (
            "zerotrust configure --template '{alias}-{role}' --region eu-central-1 --write",
            "profiles such as prod-developer",
        ),
        ("zerotrust configure --prune --write", "the same again, without roles that went away"),
        ("zerotrust configure --from aws-vault", "which profiles of aws-vault would become yours"),
    ),
)
