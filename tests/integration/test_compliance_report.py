"""`zerotrust-admin compliance-report` over the log of a real broker: as an auditor reads it, and the same bytes each time."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.audit import Directory, Log
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.conversation import obtain
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.realm import Realm

STANDARDS = ("soc2", "pci-dss", "hipaa", "gdpr", "fedramp")
FORGED = "<script>alert(1)</script>&amp;\u0416\u202e"


@pytest.fixture(scope="module")
def broker(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """One that has served alice and refused mallory, and has ended."""
    folder = tmp_path_factory.mktemp("compliance")
    with StrictSts(demo_world()) as sts:
        keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")
        broker = BrokerProcess(folder, configuration(folder, keytab=keytab, sts_endpoint=sts.url), env=realm.env)
        with broker:
            for name in ("alice", "mallory"):
                login = realm.kinit(name, folder / f"ccache-{name}")
                obtain(broker.url, realm.client_token(login), "developer")
        yield broker


def report(broker: BrokerProcess, standard: str, output: Path | str, *options: str) -> str:
    result = broker.admin("compliance-report", "--standard", standard, "--output", str(output), *options)
    assert result.returncode == 0, result.stderr
    return result.stdout


def verdicts(broker: BrokerProcess, standard: str, *options: str) -> dict[str, str]:
    found = json.loads(report(broker, standard, "-", *options))
    return {control["control"]: control["verdict"] for control in found["controls"]}


@pytest.mark.parametrize("standard", STANDARDS)
def test_each_standard_is_a_pdf_of_the_same_bytes_each_time(
    broker: BrokerProcess, standard: str, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.pdf", tmp_path / "second.pdf"
    report(broker, standard, first)
    report(broker, standard, second)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_mode & 0o077 == 0
    text = subprocess.run(["pdftotext", "-layout", first, "-"], capture_output=True, text=True, check=True).stdout
    assert "This is evidence for an auditor and no certificate." in text
    assert "alice@EXAMPLE.COM" in text
    numbers = verdicts(broker, standard)
    assert all(number.split(",")[0][:20] in text for number in numbers), "a control is not in the pages"
    assert {"pass", "not covered"} <= set(numbers.values())


def test_the_verdicts_follow_the_configuration_and_the_log(broker: BrokerProcess) -> None:
    found = verdicts(broker, "pci-dss")
    assert found["8.2.1"] == found["10.2.1"] == found["10.3.2"] == found["4.2.1"] == "pass"
    assert found["8.4.2"] == "fail", "a password's ticket is enough for the rule"
    assert found["10.3.3"] == "fail", "no sink and no witness"
    assert found["10.2.1.4"] == "pass", "mallory was refused"
    assert found["8.6.1"] == "not covered"


def test_what_the_configuration_adds_changes_the_verdicts(broker: BrokerProcess, tmp_path: Path) -> None:
    settings = {name: section for name, section in broker.settings.items() if name != "rules"}
    settings["audit"] = settings["audit"] | {"sinks": [{"name": "journal", "journald": {}}]}
    settings["server"] = settings["server"] | {"rate_limit": {"per_principal": "60/minute"}}
    settings["security"] = {
        "breach_notification": {"channels": [{"slack": {"webhook_url": "https://hooks.example/a"}}]}
    }
    require = {"indicators": ["otp"], "approval": 1}
    people = {"principals": ["alice@EXAMPLE.COM"], "approvers": {"principals": ["root/admin@EXAMPLE.COM"]}}
    settings["rules"] = [{"name": "engineers", "roles": ["developer"], "require": require, **people}]
    stronger = tmp_path / "config.yaml"
    stronger.touch(mode=0o600)
    stronger.write_text(json.dumps(settings))
    found = verdicts(broker, "pci-dss", "--config", str(stronger))
    assert found["8.4.2"] == found["10.3.3"] == "pass"
    assert found["10.7.2"] == "not covered", "a channel is there, and nothing was sent"
    assert verdicts(broker, "soc2", "--config", str(stronger))["CC6.6"] == "pass"
    assert verdicts(broker, "soc2", "--config", str(stronger))["CC6.3"] == "pass"


def test_a_log_that_was_altered_fails_its_controls(broker: BrokerProcess, tmp_path: Path) -> None:
    copy = tmp_path / "audit"
    shutil.copytree(broker.audit_directory, copy)
    (file,) = copy.glob("audit-*.jsonl")
    file.write_bytes(file.read_bytes().replace(b'"user":"alice@EXAMPLE.COM"', b'"user":"carol@EXAMPLE.COM"', 1))
    assert verdicts(broker, "soc2", "--from", str(copy))["CC7.2"] == "fail"
    assert verdicts(broker, "gdpr", "--restored", str(copy))["32(1)(c)"] == "fail"


def test_a_copy_that_was_restored_and_verifies_is_a_test_of_the_backup(broker: BrokerProcess, tmp_path: Path) -> None:
    assert verdicts(broker, "gdpr")["32(1)(c)"] == "not covered"
    shutil.copytree(broker.audit_directory, tmp_path / "restored")
    assert verdicts(broker, "gdpr", "--restored", str(tmp_path / "restored"))["32(1)(c)"] == "pass"


def test_without_the_configuration_what_it_would_show_is_not_covered(broker: BrokerProcess, tmp_path: Path) -> None:
    options = ("--from", str(broker.audit_directory), "--config", str(tmp_path / "none.yaml"))
    result = broker.admin("compliance-report", "--standard", "hipaa", "--output", "-", *options)
    assert "none.yaml cannot be read: what only the configuration shows is not covered" in result.stderr
    found = verdicts(broker, "hipaa", *options)
    assert found["164.312(e)(1)"] == found["164.312(c)(1)"] == "not covered"
    assert found["164.312(a)(2)(i)"] == "pass"


@pytest.mark.parametrize("suffix", ["html", "pdf", "json"])
def test_no_name_in_a_record_becomes_markup(broker: BrokerProcess, suffix: str, tmp_path: Path) -> None:
    forged = Log().add(1)
    forged.lines[0] = forged.lines[0].replace(
        b"alice@EXAMPLE.COM", json.dumps(FORGED, ensure_ascii=False).encode()[1:-1]
    )
    place = tmp_path / "audit"
    place.mkdir()
    Directory(path=place, jwks={}).records(forged.records())
    report(broker, "soc2", tmp_path / f"out.{suffix}", "--from", str(place))
    content: Any = (tmp_path / f"out.{suffix}").read_bytes()
    if suffix == "pdf":
        command = ["pdftotext", "-raw", tmp_path / "out.pdf", "-"]
        content = subprocess.run(command, capture_output=True, check=True).stdout
        assert b"<script>alert(1)</script>&amp;\\u0416\\u202e" in content.replace(b"\n", b"")
    elif suffix == "html":
        assert b"<script" not in content
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;\u0416\\u202e".encode() in content
    else:
        assert FORGED in {row["user"] for row in json.loads(content)["access"]}


def test_an_output_of_no_known_form_is_refused_before_anything_is_read(broker: BrokerProcess) -> None:
    result = broker.admin("compliance-report", "--standard", "soc2", "--output", "report.docx")
    assert result.returncode == 2
    assert "fix: name a file that ends in .pdf, .html, .json" in result.stderr
