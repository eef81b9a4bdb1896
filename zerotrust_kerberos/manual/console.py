"""The page of ``zerotrust console``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import CREDENTIALS, Page

PAGE = Page(
    section=CREDENTIALS,
    summary="open the AWS console as a role, in your browser",
    text="""
    The browser is the one that BROWSER names, or else your desktop's. The URL that opens the console is as good as a password for
    a quarter of an hour: it stands on nobody's command line, and --print prints it for where there is no browser.

    The console's session ends with the credentials it was opened with, within the hour.
    """,
    words={"role": "the role; that of the settings where none is named"},
    options={
        "--service": ("SERVICE", "begin with this service: s3, ec2, cloudwatch"),
        "--region": ("REGION", "in this region; AWS_REGION or AWS_DEFAULT_REGION unless given"),
        "--path": (
            "PATH",
            "begin with this page of the service, or of the console; or a link to a page, as somebody sent it",
        ),
        "--print": ("", "print the URL instead"),
        "--scope": ("SCOPE", "a scope of the role"),
        "--reason": ("TEXT", "why, where the role wants to know; it is kept"),
    },
    examples=(
        ("zerotrust console developer", "the console's first page"),
        ("zerotrust console developer --service s3 --path /buckets/logs", "a bucket"),
        (
            "zerotrust console developer --path 'https://eu-central-1.console.aws.amazon.com/ec2/home#Instances:'",
            "a link from a colleague, opened as a role of your own",
        ),
    ),
)
