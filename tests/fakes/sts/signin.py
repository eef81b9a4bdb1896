"""AWS's sign-in page for federated users, as strict as the STS whose sessions it lets in.

Source: IAM User Guide, "Enable custom identity broker access to the AWS console". What that page leaves open is decided for
the stricter: SessionDuration is refused whatever session is shown (the real one takes it where a user's own keys made the
session, and answers 400 for a chained one), a parameter that is not on the page is refused, and a sign-in token is good once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from tests.fakes.sts.service import Sts

TOKEN_LIVES = timedelta(minutes=15)
_TOKEN_BYTES = 600
_SESSION = {"sessionId", "sessionKey", "sessionToken"}
_CONSOLE = "console.aws.amazon.com"


class SignInRefusal(Exception):
    """Answered with 400 and a page, as the real one does; the text is for the log of the test."""


class SignIn:
    """``getSigninToken`` and ``login``."""

    def __init__(self, sts: Sts, *, now: Callable[[], datetime], random_bytes: Callable[[int], bytes]) -> None:
        self._sts = sts
        self._now = now
        self._random_bytes = random_bytes
        self._tokens: dict[str, tuple[datetime, str]] = {}

    def token(self, asked: Mapping[str, str]) -> str:
        """A token for a living session.

        Raises:
            SignInRefusal: Any other.
        """
        _only(asked, {"Action", "Session"})
        try:
            session = json.loads(asked["Session"])
        except (KeyError, ValueError) as error:
            raise SignInRefusal("Session is no JSON") from error
        if not isinstance(session, dict) or set(session) != _SESSION:
            raise SignInRefusal("Session needs sessionId, sessionKey and sessionToken")
        arn = self._sts.living_session(session["sessionId"], session["sessionKey"], session["sessionToken"])
        if arn is None:
            raise SignInRefusal("not a living session")
        token = self._random_bytes(_TOKEN_BYTES).hex()
        self._tokens[token] = (self._now() + TOKEN_LIVES, arn)
        return token

    def login(self, asked: Mapping[str, str]) -> tuple[str, str]:
        """Who comes in, and where to.

        Raises:
            SignInRefusal: A token that is unknown, used or old, or a destination outside the console.
        """
        _only(asked, {"Action", "Issuer", "Destination", "SigninToken"})
        destination = urlsplit(asked.get("Destination", ""))
        host = destination.hostname or ""
        if destination.scheme != "https" or not (host == _CONSOLE or host.endswith(f".{_CONSOLE}")):
            raise SignInRefusal("Destination is not the console")
        until, arn = self._tokens.pop(asked.get("SigninToken", ""), (None, ""))
        if until is None or until <= self._now():
            raise SignInRefusal("SigninToken is unknown, used or old")
        return arn, destination.geturl()


def _only(asked: Mapping[str, str], known: set[str]) -> None:
    if unknown := set(asked) - known:
        raise SignInRefusal(f"not understood: {', '.join(sorted(unknown))}")
