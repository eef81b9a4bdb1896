"""AWS's libraries write what they send and get to their DEBUG log: signatures, session tokens, whole answers with their keys.

No level that anybody sets for the broker may bring that out, so theirs is pinned where they are used. Of credentials that they
could not renew they warn with the whole error, which quotes what a program or service said; ``sts/base.py`` says it without.
"""

from __future__ import annotations

import logging

_TALKATIVE = ("boto3", "botocore", "urllib3")


def pin() -> None:
    """Nothing below a warning, whatever the root logger's level is."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("botocore.credentials").setLevel(logging.CRITICAL)
