"""``zerotrust-admin policy``: questions that need no broker, no secret and no keytab."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from broker.admin.cli import main

DOCS = Path(__file__).parents[3] / "docs"
EXAMPLE = DOCS / "policy-example.yaml"


def _run(*arguments: str, config: Path = EXAMPLE) -> Result:
    return CliRunner().invoke(main, ["policy", *arguments], env={"ZEROTRUST_CONFIG": str(config)})


def _changed(folder: Path, old: str, new: str) -> Path:
    text = EXAMPLE.read_text()
    assert old in text
    path = folder / "changed.yaml"
    path.write_text(text.replace(old, new))
    return path


def test_explain_says_why_with_the_chain_and_exits_with_the_verdict():
    allowed = _run("explain", "alice@EXAMPLE.COM", "developer", "--address", "10.1.1.1")
    assert (allowed.exit_code, allowed.stdout.splitlines()) == (
        0,
        [
            "alice@EXAMPLE.COM developer: allowed: by rule engineers",
            "  arn:aws:iam::999900001111:role/BrokerHub -> arn:aws:iam::111122223333:role/Developer, for 1:00:00",
            "  rule engineers: gives it",
        ],
    )
    denied = _run("explain", "alice@OTHER", "developer", "--address", "192.0.2.1")
    assert (denied.exit_code, denied.stdout.splitlines()) == (
        1,
        [
            "alice@OTHER developer: denied: no rule gives it",
            "  rule engineers: does not name alice@OTHER; holds from 10.0.0.0/8, not from 192.0.2.1",
            "  near: rule engineers names alice@EXAMPLE.COM: the realm differs (EXAMPLE.COM, not OTHER)",
        ],
    )


def test_explain_takes_every_circumstance_and_speaks_json():
    who = ["explain", "bob/admin@EXAMPLE.COM", "administrator", "--address", "10.1.1.1", "--json"]
    assert json.loads(_run(*who).stdout)["verdict"] == "step_up"
    assert json.loads(_run(*who, "--indicator", "pkinit", "--age", "1h").stdout)["rule"] == "administrators"
    assert json.loads(_run(*who, "--indicator", "pkinit", "--age", "3h").stdout)["verdict"] == "step_up"
    assert json.loads(_run(*who, "--indicator", "pkinit", "--job", "1h").stdout)["verdict"] == "denied"
    assert _run("explain", "eve@EXAMPLE.COM", "readonly", "--group", r"EXAMPLE.COM\aws-readers").exit_code == 0


def test_an_address_means_here_what_it_means_to_the_broker():
    """A socket for both families shows IPv4 clients as IPv6, and rules name them as IPv4."""
    who = ["explain", "alice@EXAMPLE.COM", "developer", "--address"]
    assert _run(*who, "::ffff:10.1.1.1").stdout == _run(*who, "10.1.1.1").stdout


@pytest.mark.parametrize(
    "wrong", [["alice", "developer"], ["a@R", "r", "--address", "10.0.0"], ["a@R", "r", "--age", "2"]]
)
def test_a_question_that_is_none_is_a_usage_error(wrong):
    refused = _run("explain", *wrong)
    assert refused.exit_code == 2
    assert "write" in refused.stderr


def test_who_can_names_everybody_by_rule_and_every_role_into_an_account():
    listed = _run("who-can", "administrator")
    assert "*/admin@EXAMPLE.COM (any person whose name has this form)" in listed.stdout
    assert "only with a login at most 2:00:00 ago" in listed.stdout
    into = json.loads(_run("who-can", "--account", "111122223333", "--json").stdout)
    assert sorted(into) == ["administrator", "developer", "readonly"]
    assert _run("who-can", "nobody").exit_code == 1
    assert _run("who-can").exit_code == 2


def test_diff_is_silent_about_text_and_loud_about_people(tmp_path):
    renamed = _changed(tmp_path, "name: engineers", "name: builders")
    assert (_run("diff", str(EXAMPLE), str(renamed)).exit_code, _run("diff", str(EXAMPLE), str(renamed)).stdout) == (
        0,
        "no difference\n",
    )
    wider = _run("diff", str(EXAMPLE), str(_changed(tmp_path, '"dave@EXAMPLE.COM"', '"*@EXAMPLE.COM"')))
    assert (wider.exit_code, wider.stdout.splitlines()) == (1, ["*@EXAMPLE.COM gains developer: from 10.0.0.0"])


def test_lint_fails_on_errors_and_not_on_warnings(tmp_path):
    assert (_run("lint").exit_code, _run("lint").stdout) == (0, "nothing to say\n")
    warned = _run("lint", config=_changed(tmp_path, ', allowed_accounts: ["999900001111", "111122223333"]', ""))
    assert (warned.exit_code, "[any-account]" in warned.stdout) == (0, True)
    bypass = "rules:\n  - {name: open, principals: ['*/admin@EXAMPLE.COM'], roles: [administrator]}\n"
    failed = _run("lint", config=_changed(tmp_path, "rules:\n", bypass))
    assert (failed.exit_code, "[step-up-bypassed]" in failed.stdout) == (1, True)


def test_the_golden_cases_of_the_documentation_come_out_as_it_says():
    done = _run("test", str(DOCS / "policy-cases.yaml"))
    assert (done.exit_code, done.stdout) == (0, "6 of 6 cases as expected\n")


def test_every_case_that_fails_is_shown_with_its_place_and_the_explanation(tmp_path):
    cases = tmp_path / "cases.yaml"
    cases.write_text(
        "cases:\n"
        "- {principal: eve@EXAMPLE.COM, role: developer, expect: allow}\n"
        "- {principal: alice@EXAMPLE.COM, address: 10.0.0.1, role: developer, expect: allow, rule: readers}\n"
        "- {principal: alice@EXAMPLE.COM, address: 10.0.0.1, role: developer, expect: allow}\n"
    )
    failed = _run("test", str(cases))
    assert failed.exit_code == 1
    assert f"FAIL {cases}:2: eve@EXAMPLE.COM developer: expected allow, and it is denied" in failed.stdout
    assert "expected by rule readers, and it is by engineers" in failed.stdout
    assert "      rule engineers: does not name eve@EXAMPLE.COM; " in failed.stdout
    assert failed.stdout.endswith("1 of 3 cases as expected\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cases:\n- {principal: a@R, role: r, expect: maybe}\n", "2: cases[0].expect: is none of the possible values"),
        ("cases:\n- {principal: a@R, role: r, expect: deny, rol: x}\n", "2: cases[0].rol: is not a known key"),
        ("cases:\n- {principal: a@R, role: r, role: s, expect: deny}\n", "the key stands in line 2 already"),
        ("cases:\n- {principal: alice, role: r, expect: deny}\n", "2: cases[0].principal: 'alice' is not a principal"),
        ("cases:\n- {principal: a@R, role: 012, expect: deny}\n", "2: cases[0].role: is a number, not text"),
        ("cases: []\n", "1: cases: is empty"),
        ("case: []\n", "cases: is missing"),
    ],
)
def test_cases_are_read_as_strictly_as_the_configuration(tmp_path, text, words):
    cases = tmp_path / "cases.yaml"
    cases.write_text(text)
    refused = _run("test", str(cases))
    assert refused.exit_code == 78
    assert words in refused.stderr


def test_a_policy_with_faults_is_refused_with_their_lines_and_other_sections_are_not_judged(tmp_path):
    broken = _run("lint", config=_changed(tmp_path, "roles: [readonly]", "roles: [readnly]"))
    assert broken.exit_code == 78
    assert ":24: rules[1].roles[0]: 'readnly' is no role of this configuration" in broken.stderr
    assert _run("lint", config=_changed(tmp_path, "region: eu-central-1", "regio: nowhere")).exit_code == 0


def test_secrets_are_named_and_not_read(tmp_path):
    moved = _changed(tmp_path, "secrets/dev-external-id", "secrets/other")
    told = _run("diff", str(EXAMPLE), str(moved)).stdout
    assert told == "role developer changes: external ID of arn:aws:iam::111122223333:role/Developer\n"
    assert _run("lint", config=tmp_path / "absent.yaml").exit_code == 78
