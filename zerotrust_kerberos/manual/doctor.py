"""The page of ``zerotrust doctor``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import SET_UP, Page

PAGE = Page(
    section=SET_UP,
    summary="find out why it does not work",
    text="""
    Tries everything between a ticket and credentials, in the order in which one needs the other, and says of each what it saw,
    and what to run where something is wrong: settings, krb5.conf, KDC, clocks, ticket, DNS, TLS, the broker's name in Kerberos,
    the round trip, the agent, proxies, and what goes before a profile in the AWS tools.

    Nothing is changed without --fix, and with it only what harms nobody: a ticket is renewed, a private file made private.

    A --timeout counts for each thing that is waited for. The exit status is that of the first fault, 0 if there is none.
    """,
    options={
        "--role": ("ROLE", "also say whether this role can be had, and why not"),
        "--json": ("", "a list of findings: check, verdict (ok, warn, bad, unseen), evidence, fix, code"),
        "--fix": ("", "mend what can be mended without harm"),
    },
    examples=(
        ("zerotrust doctor", "look at everything"),
        ("zerotrust doctor --role developer --json", "for a program, or for whoever helps you"),
    ),
)
