"""docs/scaling.md's tables: what was measured, and what so many people need. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.scaling.model import STS_QUOTA, Measured, Need, People, reckon

BEGIN, END = "<!-- scaling:begin -->", "<!-- scaling:end -->"
SIZES = (100, 1_000, 10_000, 100_000)
_KINDS = {
    "ticket": "credentials that are kept, for a ticket",
    "session": "credentials that are kept, for a session",
    "miss": "credentials fetched from AWS by a chain of two hops, for a session",
    "refused": "a role that no rule gives, for a session",
}
_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def recorded(document: str, measured: Measured) -> str:
    """The document with these tables between its markers.

    Raises:
        ValueError: The markers are missing.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{BEGIN} and {END} are missing")
    return f"{before}{BEGIN}\n{content(measured)}\n{END}{after}"


def content(measured: Measured) -> str:
    """What stands between the markers."""
    needs = [_values(reckon(People(users), measured)) for users in SIZES]
    parts = (
        _machine(measured.machine),
        requests(measured),
        things(measured),
        fleet(measured.fleet),
        "### What so many people need\n",
        _table(["people", *(f"{users:,}" for users in SIZES)], zip(_LABELS, *needs, strict=True)),
    )
    return "\n".join(parts)


def requests(measured: Measured) -> str:
    """By kind."""
    rows = [
        (
            what,
            f"{measured.broker_us[kind]:.0f} µs",
            f"{measured.redis_us[kind]:.0f} µs",
            f"{measured.audit_bytes[kind]:.0f} bytes",
        )
        for kind, what in _KINDS.items()
    ]
    return _table(["a request for", "broker's CPU", "Redis's CPU", "records"], rows)


def things(measured: Measured) -> str:
    """What is kept."""
    redis, pss = measured.redis_bytes, measured.pss_bytes
    rows = [
        ("a set of credentials, until an hour is over", size(redis["entry"]), size(pss["entry"])),
        ("the use of a ticket, for eleven minutes", size(redis["token"]), ""),
        ("a session", size(redis["session"]), ""),
        ("nothing at all", size(redis["empty"]), size(pss["rest"])),
    ]
    return _table(["kept", "in Redis", "in each instance that gave it out"], rows)


def fleet(found: Mapping[str, float]) -> str:
    """Of many instances."""
    rows = [
        ("an instance that nobody asks: CPU", f"{found['idle_us'] / 1e4:.2f} % of a core"),
        ("the same: Redis's CPU for it", f"{found['redis_us_idle'] / 1e4:.3f} % of a core"),
        ("the same: commands to Redis", f"{found['redis_commands']:.0f} a second"),
        (
            f"{found['herd_people']:.0f} people at all of them at once, nothing cached: STS calls",
            f"{found['herd_calls']:.0f}, where nobody waiting for anybody would make {found['herd_alone']:.0f}",
        ),
        (
            "the same: until the last answer; not answered with credentials",
            f"{found['herd_seconds']:.1f} s; {found['herd_refused']:.0f}",
        ),
        ("from the first instance that heard of a revocation to the last", f"{found['revoked_seconds']:.2f} s"),
    ]
    return _table([f"{found['instances']:.0f} instances, each on a host of its own", "measured"], rows)


def answer(people: People, measured: Measured) -> str:
    """For the command line."""
    need = reckon(people, measured)
    width = max(map(len, _LABELS))
    return "\n".join(f"{label:{width}}  {cell}" for label, cell in zip(_LABELS, _values(need), strict=True))


_LABELS = (
    "requests by ticket, busiest seconds",
    "requests by session, busiest seconds",
    "cores for brokers, busiest seconds",
    "instances (half busy, and one to spare)",
    "people an instance carries",
    "memory of an instance",
    "STS calls, all day",
    "STS calls, in the morning",
    f"regions, each with {STS_QUOTA} STS calls a second",
    "aws.sts_rate of each instance, at most",
    "Redis: maxmemory",
    "Redis: share of a core",
    "records, a day",
    "records, a year",
)


def _values(need: Need) -> Sequence[str]:
    return (
        f"{need.tickets:.1f} a second",
        f"{need.sessions:.1f} a second",
        f"{need.cores:.2f}",
        f"{need.instances}",
        f"{need.people_an_instance:,.0f}",
        size(need.instance_bytes),
        f"{need.sts_calls:.1f} a second",
        f"{need.sts_calls_morning:.1f} a second",
        f"{need.regions}",
        f"{need.sts_rate}/second",
        size(need.redis_bytes),
        f"{need.redis_cores * 100:.1f} %",
        size(need.audit_day),
        size(need.audit_year),
    )


def size(count: float) -> str:
    """Bytes as people say them."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:.0f} bytes"


def _machine(facts: Mapping[str, object]) -> str:
    busy = "; it was busy with other things" if facts.get("busy") else ""
    return (
        f"{facts['date']}: {facts['cpu']}, {facts['cores']} cores, {facts['system']}, Python {facts['python']}{busy}.\n"
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
