"""The strict STS on a port: AWS's Query protocol on ``/``, the call log and the faults under ``/_control``.

Every call to ``/`` is in the log exactly once, refused and spoilt ones too. The log holds no external ID, no secret and no
token.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from tests.fakes.sts.faults import DEFAULT_HANG_SECONDS, SPOILING, Fault, Faults
from tests.fakes.sts.parameters import AssumeRole, read_assume_role
from tests.fakes.sts.service import Issued, Sts, access_denied, expired_token
from tests.fakes.sts.signin import SignIn, SignInRefusal
from tests.fakes.sts.sigv4 import CLOCK_SKEW, SignedRequest, expired, region_of
from tests.fakes.sts.web_identity import documents_of, issuer_of, judge, read_ask, token_of
from tests.fakes.sts.wire import API_VERSION, Answer, StsRefusal, refusal, result
from tests.fakes.sts.world import World

WEB_IDENTITY = "AssumeRoleWithWebIdentity"

_PAST = timedelta(hours=-1)
_FAR = timedelta(hours=12)
_OTHER_ACCOUNT = "000000000000"
_OTHER_ROLE = "SomebodyElse"
_OTHER_SOURCE_IDENTITY = "somebody-else"


@dataclass(slots=True)
class _Call:
    """One call on its way: the form that came, and the log entry that grows."""

    form: Mapping[str, str]
    faults: list[Fault]
    entry: dict[str, Any]


class Server:
    """One STS with its log and its faults."""

    def __init__(
        self,
        world: World,
        *,
        latency: float = 0.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._sts = Sts(world, now=now, random_bytes=random_bytes)
        self._providers = world.providers
        self._signin = SignIn(self._sts, now=now, random_bytes=random_bytes)
        self._latency = latency
        self._now = now
        self._faults = Faults()
        self._calls: list[dict[str, Any]] = []

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application()
        app.router.add_route("GET", "/", self._aws)
        app.router.add_route("POST", "/", self._aws)
        app.router.add_get("/federation", self._federation)
        app.router.add_get("/_control/calls", self._get_calls)
        app.router.add_delete("/_control/calls", self._delete_calls)
        app.router.add_get("/_control/secrets", self._get_secrets)
        app.router.add_post("/_control/faults", self._post_fault)
        app.router.add_delete("/_control/faults", self._delete_faults)
        return app

    # --- /_control --------------------------------------------------------------------------------------------------

    async def _get_calls(self, _request: web.Request) -> web.Response:
        return web.json_response(self._calls)

    async def _get_secrets(self, _request: web.Request) -> web.Response:
        return web.json_response(self._sts.secrets())

    async def _delete_calls(self, _request: web.Request) -> web.Response:
        self._calls.clear()
        return web.Response(status=204)

    async def _post_fault(self, request: web.Request) -> web.Response:
        try:
            self._faults.add(await request.json())
        except (ValueError, TypeError) as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.Response(status=204)

    async def _delete_faults(self, _request: web.Request) -> web.Response:
        self._faults.clear()
        return web.Response(status=204)

    # --- AWS --------------------------------------------------------------------------------------------------------

    async def _aws(self, request: web.Request) -> web.StreamResponse:
        signed = SignedRequest(
            method=request.method,
            path=request.raw_path.partition("?")[0],
            query=request.raw_path.partition("?")[2],
            headers=_headers(request),
            body=await request.read(),
        )
        pairs = parse_qsl(_text(signed), keep_blank_values=True)
        call = self._begin(dict(pairs), region=region_of(signed))
        await asyncio.sleep(self._latency + sum(f.seconds or 0 for f in call.faults if f.kind == "latency"))
        if any(fault.kind == "hang" for fault in call.faults):
            return await _hang(request, call)
        request_id = str(uuid.uuid4())
        try:
            if call.entry["action"] == WEB_IDENTITY:
                answer = await self._by_web_identity(call, request_id, repeated=len(pairs) > len(call.form))
            else:
                answer = self._answer(signed, call, request_id, repeated=len(pairs) > len(call.form))
        except StsRefusal as error:
            answer = refusal(error, request_id)
            # A refusal may quote a malformed external ID to its sender; the log never does.
            call.entry["why"] = error.why.replace(call.form.get("ExternalId") or "\0", "...")
        call.entry.update(outcome=answer.outcome, status=answer.status)
        return web.Response(
            status=answer.status,
            text=answer.body,
            content_type=answer.content_type,
            headers={"x-amzn-RequestId": request_id},
        )

    async def _federation(self, request: web.Request) -> web.StreamResponse:
        pairs = list(request.query.items())
        call = self._begin(dict(pairs))
        await asyncio.sleep(sum(fault.seconds or 0 for fault in call.faults if fault.kind == "latency"))
        if any(fault.kind == "hang" for fault in call.faults):
            return await _hang(request, call)
        try:
            answer = self._federated(call, repeated=len(pairs) > len(call.form))
        except (SignInRefusal, StsRefusal) as error:
            call.entry.update(outcome="refused", why=str(error))
            status = 500 if any(fault.kind == "error500" for fault in call.faults) else 400
            return web.Response(
                status=status, text="<html><body>Invalid credentials</body></html>", content_type="text/html"
            )
        call.entry["outcome"] = "ok"
        return answer

    def _federated(self, call: _Call, *, repeated: bool) -> web.Response:
        for fault in call.faults:
            if (instead := self._instead(fault)) is not None:
                return web.Response(status=instead.status, text=instead.body, content_type=instead.content_type)
        if repeated:
            raise SignInRefusal("a parameter was sent more than once")
        match call.form.get("Action"):
            case "getSigninToken":
                return web.json_response({"SigninToken": self._signin.token(call.form)})
            case "login":
                arn, destination = self._signin.login(call.form)
                call.entry["caller_arn"] = arn
                return web.Response(status=302, headers={"Location": destination})
        raise SignInRefusal("no such Action")

    def _begin(self, form: dict[str, str], *, region: str | None = None) -> _Call:
        action, role_arn = form.get("Action", ""), form.get("RoleArn")
        faults = self._faults.fire(action=action, role_arn=role_arn, region=region)
        entry: dict[str, Any] = {
            "action": action,
            "region": region,
            "time": f"{self._now():%Y-%m-%dT%H:%M:%S.%fZ}",
            "role_arn": role_arn,
            "session_name": form.get("RoleSessionName"),
            "source_identity": form.get("SourceIdentity"),
            "external_id_present": "ExternalId" in form,
            "external_id_valid": False,
            "tags": {},
            "transitive_tags": [],
            "policy": None,
            "policy_arns": [],
            "duration": None,
            "caller_arn": None,
            "access_key_id_issued": None,
            "faults": [fault.kind for fault in faults],
            "outcome": "pending",
            "status": None,
            "why": None,
        }
        self._calls.append(entry)
        return _Call(form, faults, entry)

    def _answer(self, signed: SignedRequest, call: _Call, request_id: str, *, repeated: bool) -> Answer:
        for fault in call.faults:
            if (instead := self._instead(fault)) is not None:
                return instead
        credential = self._sts.authenticate(signed)
        call.entry["caller_arn"] = credential.caller.arn
        if any(fault.kind == "deny" for fault in call.faults):
            target = call.form.get("RoleArn", "*")
            raise access_denied(credential.caller.arn, f"sts:{call.form['Action']}", target, "the fault deny")
        if repeated:
            raise StsRefusal("MalformedInput", "A parameter was sent more than once")
        action, version = call.form.get("Action"), call.form.get("Version", "NO_VERSION_SPECIFIED")
        if action is None:
            raise StsRefusal("MissingAction", "The request is missing an Action parameter")
        if version != API_VERSION or action not in {"AssumeRole", "GetCallerIdentity"}:
            raise StsRefusal("InvalidAction", f"Could not find operation {action} for version {version}")
        if action == "GetCallerIdentity":
            return result(action, self._sts.caller_identity(credential), request_id)
        ask = read_assume_role(call.form)
        call.entry.update(tags=ask.tags, duration=ask.duration, external_id_valid=self._sts.external_id_matches(ask))
        call.entry.update(
            transitive_tags=list(ask.transitive_keys), policy=ask.policy_text, policy_arns=list(ask.policy_arns)
        )
        kinds = {fault.kind for fault in call.faults} & SPOILING
        lifetime = _PAST if "past" in kinds else _FAR if "far" in kinds else None
        issued = self._sts.assume_role(credential, ask, lifetime=lifetime)
        call.entry["access_key_id_issued"] = issued.access_key_id
        return result(action, _spoil(issued, kinds, ask), request_id)

    async def _by_web_identity(self, call: _Call, request_id: str, *, repeated: bool) -> Answer:
        for fault in call.faults:
            if (instead := self._instead(fault)) is not None:
                return instead
        if repeated or call.form.get("Version") != API_VERSION:
            raise StsRefusal("MalformedInput", "A parameter was sent more than once, or the version is another")
        token = token_of(call.form)
        account = (call.form.get("RoleArn", "").split(":") + [""] * 5)[4]
        provider = issuer_of(token, self._providers, account=account)
        shown = judge(token, provider, await documents_of(provider))
        ask = read_ask(call.form, shown)
        call.entry.update(
            tags=ask.tags, duration=ask.duration, source_identity=ask.source_identity, caller_arn=provider.arn
        )
        kinds = {fault.kind for fault in call.faults} & SPOILING
        lifetime = _PAST if "past" in kinds else _FAR if "far" in kinds else None
        issued = self._sts.assume_role_with_web_identity(shown, ask, lifetime=lifetime)
        call.entry["access_key_id_issued"] = issued.access_key_id
        return result(WEB_IDENTITY, _spoil(issued, kinds, ask), request_id)

    def _instead(self, fault: Fault) -> Answer | None:
        """The answer that ``fault`` puts in the place of the real one, if it is of that sort."""
        match fault.kind:
            case "html":
                page = "<!DOCTYPE html><html><body><h1>Sign in to this network</h1></body></html>\n"
                return Answer(200, page, outcome="html", content_type="text/html")
            case "empty":
                return Answer(200, "", outcome="empty")
            case "throttle":
                raise StsRefusal("Throttling", "Rate exceeded")
            case "error500":
                raise StsRefusal("InternalFailure", "An internal error has occurred", status=500)
            case "clock_skew":
                raise expired(self._now() - 2 * CLOCK_SKEW, self._now())
            case "expired_base":
                raise expired_token()
        return None


def _spoil(issued: Issued, kinds: set[str], ask: AssumeRole) -> dict[str, Any]:
    fields = issued.fields
    user = fields["AssumedRoleUser"]
    if "missing_token" in kinds:
        del fields["Credentials"]["SessionToken"]
    if "missing_expiration" in kinds:
        del fields["Credentials"]["Expiration"]
    if "other_account" in kinds:
        frame = user["Arn"].split(":")
        user["Arn"] = ":".join((*frame[:4], _OTHER_ACCOUNT, frame[5]))
    if "other_role" in kinds:
        user["Arn"] = f"{user['Arn'].partition('/')[0]}/{_OTHER_ROLE}/{ask.session_name}"
    if "other_source_identity" in kinds:
        fields["SourceIdentity"] = _OTHER_SOURCE_IDENTITY
    return fields


async def _hang(request: web.Request, call: _Call) -> web.StreamResponse:
    """Say nothing, then hang up."""
    call.entry["outcome"] = "hang"
    await asyncio.sleep(max(fault.seconds or DEFAULT_HANG_SECONDS for fault in call.faults if fault.kind == "hang"))
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _headers(request: web.Request) -> dict[str, str]:
    """Lower-case names; a repeated header is joined by commas, as the canonical request wants it."""
    joined: dict[str, str] = {}
    for name, value in request.headers.items():
        key = name.lower()
        joined[key] = f"{joined[key]},{value.strip()}" if key in joined else value.strip()
    return joined


def _text(signed: SignedRequest) -> str:
    return signed.query if signed.method == "GET" else signed.body.decode("utf-8", "replace")


async def serve(
    world: World,
    *,
    host: str,
    port: int,
    latency: float,
    ready: Callable[[str], None],
    inherited: Sequence[socket.socket] = (),
) -> None:
    """Serve until cancelled; ``ready`` is given the URL once connections are accepted, there and on what was inherited."""
    # A hanging request must not hold the process up when it is told to end.
    runner = web.AppRunner(Server(world, latency=latency).app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
        for listening in inherited:
            await web.SockSite(runner, listening).start()
        ready(f"http://{host}:{runner.addresses[0][1]}")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def announce(url: str) -> None:
    """The one line on stdout that says where we listen."""
    print(json.dumps({"url": url}), flush=True)  # noqa: T201 - it is the program's interface
