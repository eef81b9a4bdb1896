"""The page of ``zerotrust login``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import SIGN_IN, Page

PAGE = Page(
    section=SIGN_IN,
    summary="get a Kerberos ticket: by password, certificate or one-time password",
    text="""
    Runs kinit at your terminal. With --pkinit or --otp it ends with exit status 7 if the KDC was content with a password.

    With --step-up the broker is asked what a role wants, you are logged in that way if your ticket is not enough, and are told
    whether you may have the role then.

    A one-time password travels inside an encrypted exchange, for which another ticket is needed: your own if you have one, else
    an anonymous one (the KDC needs PKINIT for that), or that of a machine's keytab.
    """,
    words={"principal": "who you are, if not whom the last ticket was for, or your account's name"},
    options={
        "--pkinit": ("", "by certificate; pkinit_identities of krb5.conf says where it is, or --identity"),
        "--identity": ("IDENTITY", "the certificate: FILE:CERT,KEY, PKCS12:FILE or PKCS11:MODULE"),
        "--otp": ("", "by one-time password"),
        "--armor-keytab": ("FILE", "protect the one-time password with the ticket of this keytab"),
        "--step-up": ("ROLE", "in the way that this role asks for"),
    },
    behind="OPTION-OF-KINIT",
    examples=(
        ("zerotrust login", "a ticket for whom the last one was for, by password"),
        ("zerotrust login alice --pkinit --identity PKCS11:opensc-pkcs11.so", "by the certificate of a smart card"),
        ("zerotrust login --step-up administrator", "whatever the role administrator asks for"),
        ("zerotrust login -- -l 10h -r 7d", "what stands behind -- goes to kinit"),
    ),
)
