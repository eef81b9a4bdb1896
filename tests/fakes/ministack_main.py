"""ministack with the one fact that it lacks: who a session's source identity is.

Run by the Python of `.venv/ministack`, which has nothing of ours. Only the fact is added, when a session is made and when a
request's condition keys are gathered, as AWS has it (it stays through role chaining, and cannot change); what follows of it, and
of the time of issue, is ministack's own judgement.
"""

from __future__ import annotations

from contextvars import ContextVar
from urllib.parse import parse_qs

from ministack.core import iam_evaluator
from ministack.services import sts

_asked: ContextVar[str | None] = ContextVar("_asked", default=None)
_handle, _register, _keys = sts.handle_request, sts.register_session, iam_evaluator._principal_keys


async def handle_request(method, path, headers, body, query_params):
    given = parse_qs((body or b"").decode("utf-8", errors="replace"))
    _asked.set(given.get("SourceIdentity", [None])[0])
    return await _handle(method, path, headers, body, query_params)


def register_session(access_key, session):
    before = sts._sessions.get(session.get("SourceAccessKeyId"), {}).get("SourceIdentity")
    session["SourceIdentity"] = before or _asked.get()
    _register(access_key, session)


def principal_keys(credential):
    keys = _keys(credential)
    who = sts._sessions.get(credential.access_key_id, {}).get("SourceIdentity")
    return keys | ({"aws:sourceidentity": who} if who else {})


sts.handle_request, sts.register_session = handle_request, register_session
iam_evaluator._principal_keys = sts._principal_keys = principal_keys

if __name__ == "__main__":
    from ministack.app import main

    main()
