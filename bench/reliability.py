"""``python -m bench.reliability``: break what a broker needs, fault by fault, and write what a user saw into docs/reliability.md.

A user asks for credentials with a fresh ticket, again and again; something is broken, stays so for a while, and is mended. What
counts as right is in ``bench.faults``; here it is measured. Needs root: one of the disks is broken for real.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import ssl
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench import curve, machine, report
from bench.breaking import CASES, ROLES, SLOWLY_LOADING, Case, Scene, scene_of
from bench.herd import herd
from bench.ratios import quantile
from bench.soak import CONNECTIONS
from bench.soak import RESULT as SOAK
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts import StrictSts, demo_world

DOCUMENT = Path(__file__).parents[1] / "docs" / "reliability.md"
_BEFORE, _BROKEN, _AFTER_MOST = 1.0, 4.0, 20.0  # seconds
# So long without a refusal, and it is well again.
_WELL = 2.0
_EVERY = 0.04
_PATIENCE = 15.0
_OK = 200
_HERD = "1,000 principals"


@dataclass(frozen=True, slots=True)
class Reply:
    """One question: when it was asked (monotonic seconds), how long it took, and what came of it. 0: nobody answered."""

    at: float
    seconds: float
    status: int
    code: str
    key: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a user saw of a fault. Times in seconds; ``noticed`` is None where /readyz had nothing to say."""

    case: Case
    asked: int
    given: int
    codes: dict[str, int]
    noticed: float | None
    out: float
    back: float
    slowest: float
    p99: float
    unrecorded: int
    is_verified: bool


class User(threading.Thread):
    """Asks until told to stop."""

    def __init__(self, scene: Scene, client: dict[str, str], *, misses: bool) -> None:
        super().__init__(daemon=True)
        self._scene = scene
        self._client = client
        self._misses = misses
        self._stop_now = threading.Event()
        self.replies: list[Reply] = []

    def run(self) -> None:
        """See ``threading.Thread``."""
        number = 0
        while not self._stop_now.wait(_EVERY):
            role = f"role{number % ROLES}" if self._misses else "developer"
            number += 1
            token = base64.b64encode(self._scene.realm.client_token(self._client)).decode()
            self.replies.append(ask(self._scene.broker.url, token, role))

    def stop(self) -> None:
        """Return when the last answer is there."""
        self._stop_now.set()
        self.join()


def ask(url: str, token: str, role: str) -> Reply:
    """One question for credentials on a connection of its own."""
    headers = {"Authorization": f"Negotiate {token}", "X-Zerotrust-Request": "1", "Content-Type": "application/json"}
    began = time.monotonic()
    try:
        status, text = _sent(url, "POST", "/v1/credentials", headers, json.dumps({"role": role}))
    except (OSError, http.client.HTTPException):
        return Reply(began, time.monotonic() - began, 0, "no answer", "")
    body = json.loads(text)
    return Reply(began, time.monotonic() - began, status, body.get("code", ""), body.get("AccessKeyId", ""))


def _sent(url: str, method: str, path: str, headers: dict[str, str], body: str | None) -> tuple[int, str]:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        # Whose certificate is in force is what tests look at; here it is whether somebody is served.
        context = ssl._create_unverified_context()  # noqa: S323, SLF001
        connection = http.client.HTTPSConnection(host, port, timeout=_PATIENCE, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()


class Eye(threading.Thread):
    """Looks at /readyz until it says something; ``seen`` is when."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(daemon=True)
        self._scene = scene
        self._stop_now = threading.Event()
        self.seen: float | None = None

    def run(self) -> None:
        """See ``threading.Thread``."""
        while self.seen is None and not self._stop_now.wait(_EVERY):
            try:
                _, text = _sent(self._scene.broker.url, "GET", "/readyz", {}, None)
                is_well = json.loads(text)["status"] == "ok"
            except (OSError, http.client.HTTPException):
                is_well = False
            if not is_well:
                self.seen = time.monotonic()

    def stop(self) -> None:
        """Look no more."""
        self._stop_now.set()
        self.join()


def measure(case: Case, folder: Path, *, realm: Realm, redis: RedisServer, sts: StrictSts) -> Found:
    """Break it, mend it, and tell what the user saw."""
    client = realm.kinit("alice", folder / "ccache")
    with scene_of(case, folder, realm=realm, redis=redis, sts=sts) as scene:
        # Kerberos and the first chain are not what is measured.
        first = ask(scene.broker.url, base64.b64encode(realm.client_token(client)).decode(), "developer")
        user, eye = User(scene, client, misses=case.misses), Eye(scene)
        user.start()
        time.sleep(_BEFORE)
        broken = time.monotonic()
        eye.start()
        case.breaks(scene)
        time.sleep(_BROKEN)
        eye.stop()
        mended = time.monotonic()
        case.mends(scene)
        # What it takes to begin the mending (starting a process, say) is part of coming back.
        while time.monotonic() - max([mended, *_refusals(user.replies)]) < _WELL:
            if time.monotonic() - mended > _AFTER_MOST:
                break
            time.sleep(_EVERY)
        user.stop()
        ended = scene.broker.stop()
        issued = Counter(record["access_key_id"] for record in scene.broker.records() if record["event"] == "issued")
        recorded = issued - Counter([first.key])
        verified = scene.broker.admin("audit", "verify").returncode == 0 and ended == 0
    return told(case, user.replies, broken=broken, mended=mended, seen=eye.seen, recorded=recorded, verified=verified)


def told(
    case: Case,
    replies: Sequence[Reply],
    *,
    broken: float,
    mended: float,
    seen: float | None,
    recorded: Counter[str],
    verified: bool,
) -> Found:
    """What the answers come to: pure. ``recorded`` is how often each key was handed out by the records."""
    during = [reply for reply in replies if broken <= reply.at <= mended]
    refusals = [moment for moment in _refusals(replies) if moment >= broken]
    first = min((reply.at for reply in replies if reply.at >= broken and reply.status != _OK), default=None)
    times = [reply.seconds for reply in during] or [0.0]
    codes: dict[str, int] = {}
    for reply in replies:
        if reply.at >= broken and reply.status != _OK:
            name = f"{reply.status} {reply.code}".strip() if reply.status else reply.code
            codes[name] = codes.get(name, 0) + 1
    return Found(
        case=case,
        asked=sum(reply.at >= broken for reply in replies),
        given=sum(reply.at >= broken and reply.status == _OK for reply in replies),
        codes=codes,
        noticed=None if seen is None else seen - broken,
        out=0.0 if first is None else max(refusals) - first,
        back=max([0.0, *(moment - mended for moment in refusals)]),
        slowest=max(times),
        p99=quantile(times, 0.99),
        unrecorded=(Counter(reply.key for reply in replies if reply.key) - recorded).total(),
        is_verified=verified,
    )


def _refusals(replies: Sequence[Reply]) -> list[float]:
    """When each of them was over."""
    return [reply.at + reply.seconds for reply in replies if reply.status != _OK]


def table(found: Sequence[Found]) -> str:
    """For the page."""
    head = (
        "fault",
        "injected",
        "asked",
        "given",
        "refused",
        "noticed",
        "out",
        "back",
        "p99",
        "slowest",
        "answers without a record",
        "verify",
    )
    rows = [
        (
            one.case.fault,
            one.case.what,
            str(one.asked),
            str(one.given),
            ", ".join(f"{count} x {code}" for code, count in sorted(one.codes.items())) or "none",
            "nothing to notice" if one.noticed is None else _time(one.noticed),
            _time(one.out),
            _time(one.back),
            _time(one.p99),
            _time(one.slowest),
            str(one.unrecorded),
            "passes" if one.is_verified else "FAILS",
        )
        for one in found
    ]
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _time(seconds: float) -> str:
    return "0" if seconds == 0 else f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def remarks(facts: dict[str, object]) -> str:
    """Where and when."""
    return (
        f"{facts['date']}, {facts['cores']} cores of {facts['cpu']}, {facts['system']}, Linux {facts['kernel']}, "
        f"Python {facts['python']}, load average before {facts['load_average_before']:.1f}. Broken for {_BROKEN:.0f} s each; "
        "user, broker, KDC, Redis and STS share the machine."
    )


def soaked(path: Path) -> str:
    """The facts of the last soak's curve."""
    said = json.loads(path.read_text())
    points = [curve.Point(**point) for point in said["points"]]
    after, last = curve.settled(points), points[-1]
    answers = "\n".join(
        f"| {kind} | {answer} | {count:,} | {'yes' if is_right else 'no'} |"
        for kind, answer, is_right, count in said["answers"]
    )
    rows = "\n".join(
        f"| {point.requests:,} | {point.seconds:.0f} | {point.own / 1e6:.1f} | {point.rss / 1e6:.1f} | {point.pss / 1e6:.1f} "
        f"| {point.descriptors} | {point.threads} | {point.redis_bytes / 1e6:.1f} | {point.redis_keys:,} |"
        for point in [*points[:: max(1, len(points) // 10)], last]
    )
    threads = {point.threads for point in after}
    where = f"{said['machine']['cores']} cores of {said['machine']['cpu']}"
    return (
        f"{last.requests:,} requests in {last.seconds / 60:.0f} minutes ({last.requests / last.seconds:.0f} a second), "
        f"{said['machine']['date']}, {where}.\n"
        f"Growth after the warm-up: {curve.growth(points):+.2f} octets a request. "
        f"Most descriptors: {max(point.descriptors for point in after)}, of which {CONNECTIONS} are the load's connections; "
        f"threads {min(threads)} to {max(threads)}. The broker's log: {said['log_bytes']:,} octets.\n\n"
        "| requests | s | own MB | RSS MB | PSS MB | descriptors | threads | Redis MB | keys there |\n"
        f"|---|---|---|---|---|---|---|---|---|\n{rows}\n\n"
        f"| request | answer | how often | as it should be |\n|---|---|---|---|\n{answers}"
    )


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m bench.reliability", description=__doc__)
    parser.add_argument("--only", help="words of the faults to inject; nothing is written then")
    parser.add_argument("--soak", type=Path, default=SOAK, help="numbers of the last soak")
    arguments = parser.parse_args()
    facts, found, crowd = machine.facts(), [], ""
    cases = [case for case in CASES if arguments.only is None or arguments.only in case.what]
    with tempfile.TemporaryDirectory(prefix="reliability-", dir=machine.DISK) as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        users = {"alice": "only-for-this-run"}
        realm = stack.enter_context(Realm.start(folder / "realm", principals=users, services=("HTTP/localhost",)))
        redis = stack.enter_context(RedisServer.start(folder / "redis", settings=SLOWLY_LOADING))
        sts = stack.enter_context(StrictSts(demo_world()))
        if arguments.only is None or arguments.only in _HERD:
            crowd = str(herd(_made(folder / "herd"), redis=redis, sts=sts))
            print(crowd, flush=True)
        for number, case in enumerate(cases):
            found.append(measure(case, _made(folder / str(number)), realm=realm, redis=redis, sts=sts))
            print(table(found[-1:]).splitlines()[-1], flush=True)
    if arguments.only is not None:
        return
    page = report.between(DOCUMENT.read_text(), "faults", f"{table(found)}\n\n{crowd}\n\n{remarks(facts)}")
    if arguments.soak.exists():
        page = report.between(page, "soak", soaked(arguments.soak))
    DOCUMENT.write_text(page)


if __name__ == "__main__":
    main()
