"""Every alert of monitoring/ fires on what it is for, stays quiet on what it is not, and has a page to open at night.

promtool evaluates the rules as Prometheus would. What each alert is made of is looked for at a running broker in
``test_metrics_page.py``.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
RUNBOOKS = ROOT / "docs" / "runbooks"
OF = 'job="zerotrust-broker",instance="a"'
OTHER = 'job="zerotrust-broker",instance="b"'
ROUTE = f'{OF},route="/v1/credentials"'
DAY = 86_400

# What fires an alert, after so many minutes; and what looks like it and must not. One value a minute; of what takes longer than
# LONG minutes, one in ten.
LONG = 100
Case = tuple[dict[str, str], int, dict[str, str]]


def histogram(name: str, of: str, *, bound: str, all_at: str, below_at: str) -> dict[str, str]:
    """Of a few buckets; how many there are each minute, and how many of them at most ``bound``."""
    return {
        f'{name}_bucket{{{of},le="{bound}"}}': below_at,
        f'{name}_bucket{{{of},le="5.0"}}': all_at,
        f'{name}_bucket{{{of},le="+Inf"}}': all_at,
        f"{name}_count{{{of}}}": all_at,
    }


def answers(status: str, values: str) -> dict[str, str]:
    return {f'broker_http_responses_total{{{ROUTE},status="{status}"}}': values}


CASES: dict[str, Case] = {
    "BrokerDown": ({f"up{{{OF}}}": "0x5"}, 3, {f"up{{{OF}}}": "1 0 1x5"}),
    "BrokerAbsent": ({'up{job="node",instance="a"}': "1x9"}, 6, {f"up{{{OF}}}": "0x9"}),
    # Two of a hundred fail; one of a thousand may.
    "BrokerErrorBudgetBurnsFast": (
        answers("200", "0+98x90") | answers("503", "0+2x90"),
        70,
        # What is refused is no error of ours, and a challenge no answer yet.
        answers("200", "0+98x90") | answers("403", "0+50x90") | answers("401", "0+100x90"),
    ),
    "BrokerErrorBudgetBurns": (
        answers("200", "0+99x40") | answers("503", "0+1x40"),
        390,
        answers("200", "0+996x40") | answers("503", "0+4x40"),
    ),
    "BrokerErrorBudgetBurnsSlowly": (
        answers("200", "0+998x450") | answers("504", "0+2x450"),
        4400,
        answers("200", "0+9999x450") | answers("504", "0+1x450"),
    ),
    "BrokerSlow": (
        histogram("broker_http_response_seconds", ROUTE, bound="1.0", all_at="0+100x90", below_at="0+80x90"),
        70,
        histogram("broker_http_response_seconds", ROUTE, bound="1.0", all_at="0+100x90", below_at="0+95x90"),
    ),
    "BrokerRestarts": (
        {f"process_start_time_seconds{{{OF}}}": "0 1 2 3 3 3 3"},
        6,
        {f"process_start_time_seconds{{{OF}}}": "0 0 1 1 1 1 1"},
    ),
    "BrokerVitalDependencyDown": (
        {f'broker_dependency_up{{{OF},dependency="audit"}}': "0x5"},
        2,
        {f'broker_dependency_up{{{OF},dependency="cache"}}': "0x5"},
    ),
    "BrokerDependencyDown": (
        {f'broker_dependency_up{{{OF},dependency="cache"}}': "0x9"},
        6,
        {f'broker_dependency_up{{{OF},dependency="cache"}}': "1 0 0 0 1 1 1 1 1"},
    ),
    "BrokerRedisLeftAlone": (
        {f'broker_redis_breaker_open{{{OF},use="cache"}}': "1x5"},
        3,
        {f'broker_redis_breaker_open{{{OF},use="cache"}}': "1 0 0 1 0"},
    ),
    "BrokerInstancesApart": (
        {f"up{{{OF}}}": "1x20", f"up{{{OTHER}}}": "1x20", f"broker_instances{{{OF}}}": "1x20"},
        15,
        {f"up{{{OF}}}": "1x20", f"up{{{OTHER}}}": "0x20", f"broker_instances{{{OF}}}": "1x20"},
    ),
    "BrokerAuditUnwritable": (
        {f"broker_audit_lost_records_total{{{OF}}}": "0 0 1 1"},
        3,
        {f"broker_audit_lost_records_total{{{OF}}}": "7x9"},
    ),
    "BrokerAuditSlow": (
        histogram("broker_audit_write_seconds", OF, bound="0.25", all_at="0+100x30", below_at="0+90x30"),
        20,
        histogram("broker_audit_write_seconds", OF, bound="0.25", all_at="0+100x30", below_at="0+100x30"),
    ),
    "BrokerAuditCheckpointLate": (
        {
            f"broker_audit_last_checkpoint_timestamp_seconds{{{OF}}}": "0x20",
            f'broker_audit_records_total{{{OF},event="issued"}}': "0+60x20",
        },
        12,
        # Nothing happens, so there is nothing to state.
        {
            f"broker_audit_last_checkpoint_timestamp_seconds{{{OF}}}": "0x20",
            f'broker_audit_records_total{{{OF},event="issued"}}': "60x20",
        },
    ),
    "BrokerAuditSinkBehind": (
        {f'broker_audit_sink_behind_records{{{OF},sink="siem"}}': "5000x20"},
        12,
        {f'broker_audit_sink_behind_records{{{OF},sink="siem"}}': "0 5000 0x20"},
    ),
    "BrokerAuditRecordsSetAside": (
        {f'broker_audit_sink_set_aside_records_total{{{OF},sink="siem"}}': "0 0 1"},
        2,
        {f'broker_audit_sink_set_aside_records_total{{{OF},sink="siem"}}': "3x20"},
    ),
    "BrokerDiskFills": (
        {
            f'broker_disk_free_bytes{{{OF},directory="audit"}}': "4x30",
            f'broker_disk_size_bytes{{{OF},directory="audit"}}': "100x30",
        },
        20,
        # It fills up, and lasts for weeks.
        {
            f'broker_disk_free_bytes{{{OF},directory="audit"}}': "3900000-1x30",
            f'broker_disk_size_bytes{{{OF},directory="audit"}}': "10000000x30",
            f'broker_disk_free_files{{{OF},directory="audit"}}': "+Inf",
        },
    ),
    "BrokerStsFails": (
        {
            f'broker_sts_calls_total{{{OF},region="eu-central-1"}}': "0+60x20",
            f'broker_sts_errors_total{{{OF},region="eu-central-1",reason="sts_throttled"}}': "0+30x20",
        },
        12,
        # Refusals are AWS's word about somebody, no fault.
        {
            f'broker_sts_calls_total{{{OF},region="eu-central-1"}}': "0+60x20",
            f'broker_sts_errors_total{{{OF},region="eu-central-1",reason="hop2_access_denied"}}': "0+30x20",
        },
    ),
    "BrokerStsQueueFull": (
        {f"broker_sts_waiting_calls{{{OF}}}": "90x9", f"broker_sts_waiting_places{{{OF}}}": "100x9"},
        4,
        {f"broker_sts_waiting_calls{{{OF}}}": "0 90 0x9", f"broker_sts_waiting_places{{{OF}}}": "100x9"},
    ),
    "BrokerBaseCredentialsBad": (
        {f'broker_sts_errors_total{{{OF},region="",reason="base_credentials_expired"}}': "0+1x9"},
        5,
        {f'broker_sts_errors_total{{{OF},region="",reason="sts_timeout"}}': "0+1x9"},
    ),
    "BrokerClockWrong": (
        {f'broker_sts_errors_total{{{OF},region="eu-central-1",reason="clock_skew"}}': "0+1x9"},
        4,
        {f'broker_sts_errors_total{{{OF},region="eu-central-1",reason="sts_timeout"}}': "0+1x9"},
    ),
    "BrokerClockSet": (
        {f"broker_clock_jumps_total{{{OF}}}": "0 0 0 1x9"},
        4,
        {f"broker_clock_jumps_total{{{OF}}}": "3x20"},
    ),
    "BrokerAwsDeniesLate": (
        {f"broker_aws_denies_late{{{OF}}}": "2x20"},
        12,
        {f"broker_aws_denies_late{{{OF}}}": "2 2 0x20"},
    ),
    "BrokerCacheMisses": (
        {
            f'broker_cache_requests_total{{{OF},result="miss"}}': "0+60x90",
            f'broker_cache_requests_total{{{OF},result="hit"}}': "0+30x90",
        },
        70,
        # Nobody is there, and the one who is misses.
        {f'broker_cache_requests_total{{{OF},result="miss"}}': "0+1x90"},
    ),
    "BrokerCertificateEndsSoon": (
        {f"broker_tls_certificate_expiry_timestamp_seconds{{{OF}}}": f"{10 * DAY}x90"},
        70,
        {f"broker_tls_certificate_expiry_timestamp_seconds{{{OF}}}": f"{30 * DAY}x90"},
    ),
    "BrokerCertificateEnds": (
        {f"broker_tls_certificate_expiry_timestamp_seconds{{{OF}}}": f"{DAY}x20"},
        10,
        {f"broker_tls_certificate_expiry_timestamp_seconds{{{OF}}}": f"{10 * DAY}x20"},
    ),
    "BrokerReloadFailed": (
        # Both at once: the names of metrics are no labels of an alert, and two alerts of the same labels are an error.
        {f"broker_config_last_reload_successful{{{OF}}}": "0x9", f"broker_tls_last_reload_successful{{{OF}}}": "0x9"},
        6,
        {f"broker_config_last_reload_successful{{{OF}}}": "1x9", f"broker_tls_last_reload_successful{{{OF}}}": "0 1x9"},
    ),
    "BrokerKeytabOld": (
        {f"broker_keytab_newest_key_timestamp_seconds{{{OF}}}": f"{-401 * DAY}x90"},
        70,
        {f"broker_keytab_newest_key_timestamp_seconds{{{OF}}}": f"{-300 * DAY}x90"},
    ),
    "BrokerKeyRotationLate": (
        {
            f"broker_data_key_due_seconds{{{OF}}}": f"{-2 * DAY}x90",
            f"broker_master_key_due_seconds{{{OF}}}": f"{-2 * DAY}x90",
        },
        70,
        {f"broker_data_key_due_seconds{{{OF}}}": "-60x90", f"broker_master_key_due_seconds{{{OF}}}": f"{DAY}x90"},
    ),
    "BrokerEventLoopLate": (
        histogram("broker_event_loop_lag_seconds", OF, bound="0.1", all_at="0+120x30", below_at="0+100x30"),
        20,
        histogram("broker_event_loop_lag_seconds", OF, bound="0.1", all_at="0+120x30", below_at="0+120x30"),
    ),
    "BrokerDescriptorsRunOut": (
        {f"process_open_fds{{{OF}}}": "900x9", f"process_max_fds{{{OF}}}": "1000x9"},
        4,
        {f"process_open_fds{{{OF}}}": "100 900 100x9", f"process_max_fds{{{OF}}}": "1000x9"},
    ),
    "BrokerMemoryGrows": (
        {f"process_resident_memory_bytes{{{OF}}}": "600000000x60"},
        40,
        {f"process_resident_memory_bytes{{{OF}}}": "200000000x60"},
    ),
    "BrokerVersionsDiffer": (
        {f'broker_build_info{{{OF},version="1"}}': "1x150", f'broker_build_info{{{OTHER},version="2"}}': "1x150"},
        1450,
        {f'broker_build_info{{{OF},version="1"}}': "1x150", f'broker_build_info{{{OTHER},version="1"}}': "1x150"},
    ),
    "BrokerTampered": (
        {f"broker_vault_tampered_total{{{OF}}}": "0 0 1"},
        2,
        {f"broker_vault_tampered_total{{{OF}}}": "4x20", f"broker_cache_tampered_total{{{OF}}}": "0x20"},
    ),
    "BrokerWatchAlert": (
        {f'broker_watch_alerts_total{{{OF},kind="new_network"}}': "0 0 1"},
        2,
        {f'broker_watch_alerts_total{{{OF},kind="new_network"}}': "5x20"},
    ),
    "BrokerRefusalsBurst": (
        answers("200", "0+60x30") | answers("403", "0+120x30"),
        20,
        answers("200", "0+600x30") | answers("403", "0+120x30") | answers("401", "0+900x30"),
    ),
    "BrokerNotificationsFail": (
        {f"broker_notification_channels_failing{{{OF}}}": "1x30"},
        20,
        {f"broker_notification_channels_failing{{{OF}}}": "1 1 1 0x30"},
    ),
    "BrokerReviewOpen": (
        {f"broker_reviews_open{{{OF}}}": "1x150"},
        1450,
        {f"broker_reviews_open{{{OF}}}": "1x60 0x90"},
    ),
}


def groups(file: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((MONITORING / file).read_text(encoding="utf-8"))["groups"]
    return found


def rules() -> dict[str, dict[str, Any]]:
    """The alerts, by name."""
    return {rule["alert"]: rule for group in groups("alerts.yaml") for rule in group["rules"]}


def firing(name: str) -> str:
    return f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'


def cases(step: int) -> list[dict[str, Any]]:
    """Those with this step, in promtool's form (Prometheus, "Unit testing for rules")."""
    made = []
    for name, (fires, minutes, quiet) in CASES.items():
        if step != (10 if minutes > LONG else 1):
            continue
        for series, expected in ((fires, [{"labels": "{}", "value": 1}]), (quiet, [])):
            # A quiet one is looked at throughout: an alert that comes and goes is one.
            moments = [minutes] if expected else range(step, minutes + 1, step * max(1, minutes // step // 20))
            made.append(
                {
                    "interval": f"{step}m",
                    "name": f"{name} {'fires' if expected else 'stays quiet'}",
                    "input_series": [{"series": one, "values": values} for one, values in series.items()],
                    "promql_expr_test": [
                        {"expr": firing(name), "eval_time": f"{moment}m", "exp_samples": expected} for moment in moments
                    ],
                }
            )
    return made


@pytest.mark.parametrize("step", [1, 10])
def test_every_alert_fires_on_what_it_is_for_and_on_nothing_that_looks_like_it(tmp_path: Path, step: int) -> None:
    files = ("recording.yaml", "alerts.yaml")
    whole = {
        "rule_files": [str(MONITORING / name) for name in files],
        "evaluation_interval": f"{step}m",
        # Without it promtool takes groups in any order, and an alert may see what was recorded a step before, too old to count.
        "group_eval_order": [group["name"] for name in files for group in groups(name)],
        "tests": cases(step),
    }
    asked = tmp_path / "cases.json"
    asked.write_text(json.dumps(whole))
    done = subprocess.run(
        ["promtool", "test", "rules", asked], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_a_case_for_each_alert() -> None:
    assert CASES.keys() == rules().keys()


def test_the_rules_are_in_prometheus_s_form() -> None:
    files = sorted(MONITORING.glob("*.yaml"))
    done = subprocess.run(
        ["promtool", "check", "rules", *files], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", rules())
def test_every_alert_has_a_page_that_says_what_it_means_where_to_look_and_what_to_do(name: str) -> None:
    rule, page = rules()[name], (RUNBOOKS / f"{name}.md").read_text()
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert page.startswith(f"# {name}\n")
    assert "\n## Look\n\n- " in page
    assert "\n## Do\n\n- " in page
    said = re.search(r"```\n(.*?)\n```", page, re.DOTALL)
    assert said is not None
    assert said[1].split() == rule["expr"].split(), "the page shows another rule than the one that fires"
    assert f"`severity: {rule['labels']['severity']}`" in page


def test_there_is_no_page_without_an_alert() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {*rules(), "README"}
