"""What a running broker says of itself: all of it is written down, rules and dashboards name nothing else, and it is true.

One broker with everything a configuration can hang on it serves all of this file.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.asker import get
from tests.fakes.everything import Everything, everything
from tests.fakes.realm import Realm
from tests.fakes.until import eventually

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
_NAME = re.compile(r"\b(?:broker|process)_[a-z0-9_]+")
_ROW = re.compile(r"^\| `([a-z_]+)` \| (\w+) \| ([a-z_, ]*) \| (.*) \|$", re.MULTILINE)
_WITH_A_UNIT = re.compile(r"_(total|seconds|bytes|ratio|records|successful)$")
_OF_A_HISTOGRAM = re.compile(r"_(bucket|count|sum)$")


@pytest.fixture(scope="module")
def place(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    with everything(tmp_path_factory.mktemp("everything"), realm) as running:
        assert running.alice.ask(running.plain).status == 200
        yield running


def names(place: Everything) -> set[str]:
    """As an expression names them."""
    return {f"{family.name}_total" if family.type == "counter" else family.name for family in place.families().values()}


def rules() -> list[dict[str, Any]]:
    return [
        rule
        for path in sorted(MONITORING.glob("*.yaml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


def expressions(dashboard: dict[str, Any]) -> list[str]:
    """Of its panels and marks, as Prometheus gets them."""
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    found = [*panels, *(mark["expr"] for mark in dashboard["annotations"]["list"])]
    return [expr.replace("$__rate_interval", "5m").replace("$instance", ".*") for expr in found]


def named_in(text: str) -> set[str]:
    """The metrics that it names; what is matched by an expression is looked for by whoever wrote that."""
    return {_OF_A_HISTOGRAM.sub("", name) for name in _NAME.findall(text)}


# ---- what is written down ----


def test_the_page_is_as_prometheus_wants_it(place: Everything) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=place.page(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_metric_is_in_the_documentation_with_its_type_its_labels_and_what_it_says(place: Everything) -> None:
    written = {row[0]: row[1:] for row in _ROW.findall((ROOT / "docs" / "metrics.md").read_text())}
    assert written.keys() == names(place), "docs/metrics.md has a row for each metric"
    for family in place.families().values():
        kind, labels, text = written[f"{family.name}_total" if family.type == "counter" else family.name]
        assert (kind, text) == (family.type, family.documentation), family.name
        used = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert used <= set(labels.split(", ")), family.name


def test_rules_name_only_metrics_that_a_broker_has(place: Everything) -> None:
    there = names(place)
    for rule in rules():
        patterns = re.findall(r'__name__=~"([^"]+)"', rule["expr"])
        wanted = named_in(re.sub(r'__name__=~"[^"]+"', "", rule["expr"]))
        assert wanted <= there, rule
        for pattern in patterns:
            assert any(re.fullmatch(pattern, name) for name in there), rule


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_name_only_metrics_that_a_broker_or_a_rule_has(place: Everything, path: Path) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for expr in expressions(json.loads(path.read_text())):
        assert set(re.findall(r"\bbroker:[a-z0-9_:]+", expr)) <= recorded, expr
        assert named_in(re.sub(r"\bbroker:[a-z0-9_:]+", "", expr)) <= names(place), expr


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_expression_of_a_dashboard_is_one_and_its_panels_have_a_place_each(path: Path, tmp_path: Path) -> None:
    dashboard = json.loads(path.read_text())
    as_rules = [{"record": f"a:{n}", "expr": expr} for n, expr in enumerate(expressions(dashboard))]
    asked = tmp_path / "rules.json"
    asked.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": as_rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", asked], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z_]+)", path.read_text())) - {"__rate_interval", "__all"}
    assert used == variables
    assert dashboard["uid"] == path.stem
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel.get("targets", ()))
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_pages_of_the_documentation_name_only_metrics_that_a_broker_has(place: Everything) -> None:
    there = names(place)
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for name in re.findall(r"`(broker_[a-z_]+)(?:\{[^`]*)?`", page.read_text()):
            # Events and codes begin so too, and have no unit.
            assert name in there or not _WITH_A_UNIT.search(name), f"{page.name}: {name}"


# ---- that it is bounded and true ----


def test_nothing_that_somebody_sends_makes_a_series(place: Everything) -> None:
    get(place.plain, "/nothing-0")
    get(place.plain, "/v1/container/r0")
    place.alice.ask(place.plain, "r0")
    before = sum(len(family.samples) for family in text_string_to_metric_families(place.page()))
    for number in range(1, 30):
        get(place.plain, f"/nothing-{number}?a={number}")
        get(place.plain, f"/v1/container/r{number}")
        get(place.plain, f"/v1/secrets/p{number}")
        place.alice.ask(place.plain, f"r{number}")
    found = place.page()
    # One more for the route of secrets, in each of its families.
    route = sum('route="/v1/secrets/{path}"' in line for line in found.splitlines())
    assert sum(len(family.samples) for family in text_string_to_metric_families(found)) - before <= route
    assert "r29" not in found
    assert "nothing-29" not in found


def test_answers_are_counted_where_nothing_is_on_record(place: Everything) -> None:
    before = place.value("broker_http_responses_total", route="other", status="404") or 0.0
    get(place.plain, "/nothing-at-all")
    assert place.value("broker_http_responses_total", route="other", status="404") == before + 1
    assert (place.value("broker_http_response_seconds_count", route="/v1/credentials") or 0) >= 1


def test_prometheus_reads_it_and_judges_by_our_rules(place: Everything, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    target = urlsplit(place.plain).netloc
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in sorted(MONITORING.glob("*.yaml"))],
        "scrape_configs": [{"job_name": "zerotrust-broker", "static_configs": [{"targets": [target]}]}],
    }
    (tmp_path / "prometheus.json").write_text(json.dumps(config))
    command = [
        "prometheus",
        f"--config.file={tmp_path / 'prometheus.json'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
    ]
    url = f"http://127.0.0.1:{port}"

    def asked(expr: str) -> Any:
        try:
            return get(url, f"/api/v1/query?query={expr}").body["data"]["result"]
        except (OSError, KeyError, ValueError):
            return []

    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
        try:
            eventually(lambda: asked("up==1"))
            # The sink of this broker is nobody's: it is down, and the rule waits its five minutes.
            pending = 'ALERTS{alertname="BrokerDependencyDown",dependency="audit_sink_siem"}'
            eventually(lambda: asked(pending))
            rules_now = get(url, "/api/v1/rules").body["data"]["groups"]
            ill = [rule for group in rules_now for rule in group["rules"] if rule["health"] == "err"]
            assert ill == []
        finally:
            running.terminate()
            running.wait(30)


# ---- faults, and what is said of them ----


def test_when_redis_dies_metrics_and_readyz_say_so_since_when_and_when_it_is_back(place: Everything) -> None:
    assert place.readiness()["cache"] == {"status": "ok"}
    before = time.time()
    place.redis.stop()
    try:
        found = place.readiness()["replay_guard"]
        assert found["status"] == "degraded"
        assert re.fullmatch(r"[a-z_]+", found["code"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["since"])
        time.sleep(1.1)
        assert place.readiness()["replay_guard"]["since"] == found["since"], "it stays when it is asked again"
        assert place.value("broker_dependency_up", dependency="replay_guard") == 0
        since = place.value("broker_dependency_since_timestamp_seconds", dependency="replay_guard")
        assert since is not None
        assert before - 1 <= since <= time.time()
        assert place.alice.ask(place.plain, "developer").status == 503
        assert place.value("broker_redis_breaker_open", use="replay_guard") == 1
        assert (place.value("broker_http_responses_total", route="/v1/credentials", status="503") or 0) >= 1
    finally:
        place.redis.restart()
    eventually(lambda: place.readiness()["replay_guard"]["status"] == "ok")
    eventually(lambda: place.alice.ask(place.plain, "developer").status == 200)
    assert place.value("broker_dependency_up", dependency="replay_guard") == 1
    assert place.value("broker_redis_breaker_open", use="replay_guard") == 0


def test_a_reload_of_what_cannot_be_used_is_seen_and_so_is_the_next_good_one(place: Everything) -> None:
    began = place.value("broker_config_last_reload_success_timestamp_seconds")
    good = place.broker.config.read_text()
    place.broker.config.write_text(good.replace('"rules"', '"ruless"'))
    place.broker.reload()
    eventually(lambda: place.value("broker_config_last_reload_successful") == 0)
    assert place.value("broker_config_last_reload_success_timestamp_seconds") == began
    # Counted when it is on record, which is a moment later.
    eventually(lambda: place.value("broker_reloads_total", of="config", outcome="refused") == 1)
    place.broker.config.write_text(good.replace('"engineers"', '"engineering"'))
    place.broker.reload()
    eventually(lambda: place.value("broker_config_last_reload_successful") == 1)
    # The record of it is what the moment is taken from, and that comes last.
    eventually(lambda: (place.value("broker_config_last_reload_success_timestamp_seconds") or 0) > (began or 0))
