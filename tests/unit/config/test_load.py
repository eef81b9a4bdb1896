from __future__ import annotations

import os
import pickle
import time
import traceback
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.config.load import load
from broker.config.model import Settings
from broker.core.errors import ConfigurationError
from broker.core.roles import Hop, Role, RoleArn, RoleName

# What makes a file of this process private.
LESS = "g-w,o=" if os.geteuid() == 0 else "600"
REDIS = 'redis: {url: "redis://localhost", password: "${REDIS_PASSWORD}"}\n'


def test_the_defaults_are_the_safe_ones(host, minimal):
    settings = host.load(minimal + "tls: {certificate: '${CERTIFICATE}', private_key: '${PRIVATE_KEY}'}\n")
    assert settings.tls.min_version == "TLSv1.2"
    assert settings.tls.openssl_ciphers.startswith("ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:")
    assert settings.aws.credentials_provider == "environment"
    assert settings.roles == {}
    assert settings.rules == ()
    assert settings.redis is None


def test_the_default_listener_is_https(host, minimal):
    text = minimal.replace('server: {listen: ["http://127.0.0.1:0"]}\n', "")
    settings = host.load(text + "tls: {certificate: '${CERTIFICATE}', private_key: '${PRIVATE_KEY}'}\n")
    assert [str(listener) for listener in settings.server.listen] == ["https://0.0.0.0:8443"]


def test_roles_come_as_the_other_rooms_know_them(host, minimal):
    arns = ["arn:aws:iam::999900001111:role/Hub", "arn:aws:iam::111122223333:role/Developer"]
    settings = host.load(
        minimal
        + f"roles:\n  dev:\n    chain: [{{arn: '{arns[0]}', external_id: hub}}, {{arn: '{arns[1]}'}}]\n    duration: 45m\n"
    )
    first, second = (RoleArn.parse(arn) for arn in arns)
    assert settings.roles == {
        "dev": Role(RoleName("dev"), (Hop(first, "hub"), Hop(second, None)), timedelta(minutes=45)),
    }


def test_one_keytab_needs_no_list_and_a_folder_stands_for_its_files(host, minimal):
    assert [str(path) for path in host.load(minimal).kerberos.keytabs] == [host.environ["KEYTAB"]]
    folder = minimal.replace("${KEYTAB}", "${KEYTAB_FOLDER}")
    assert [str(path) for path in host.load(folder).kerberos.keytabs] == [host.environ["KEYTAB_FOLDER"]]


def test_keytabs_and_private_keys_that_others_can_read_are_refused(host, minimal):
    host.file("http.keytab", mode=0o640).parent.joinpath("server.key").chmod(0o604)
    host.folder.joinpath("http.keytab").chmod(0o644)
    host.folder.joinpath("keytabs/other.keytab").chmod(0o606)
    text = minimal.replace('"${KEYTAB}"', '["${KEYTAB}", "${KEYTAB_FOLDER}"]')
    problems = host.problems(text + "tls: {certificate: '${CERTIFICATE}', private_key: '${PRIVATE_KEY}'}\n")
    assert problems == [
        f"FILE:2: kerberos.keytabs[0]: has mode 0644, open to others — fix: chmod {LESS} HOST/http.keytab",
        f"FILE:2: kerberos.keytabs[1]: has mode 0606, open to others — fix: chmod {LESS} HOST/keytabs/other.keytab",
        f"FILE:6: tls.private_key: has mode 0604, open to others — fix: chmod {LESS} HOST/server.key",
    ]


def test_an_empty_keytab_folder_is_refused(host, minimal):
    host.folder.joinpath("keytabs/other.keytab").rename(host.folder / "keytabs/README.md")
    (problem,) = host.problems(minimal.replace("${KEYTAB}", "${KEYTAB_FOLDER}"))
    assert "kerberos.keytabs[0]: is an empty folder — fix: put a keytab there" in problem


def test_a_keytab_that_is_a_symbolic_link_is_refused(host, minimal):
    keytab = host.folder / "http.keytab"
    keytab.rename(host.folder / "real.keytab")
    keytab.symlink_to("real.keytab")
    (problem,) = host.problems(minimal)
    assert problem == "FILE:2: kerberos.keytabs[0]: is a symbolic link — fix: name the file itself"


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_configuration_that_others_can_reach_is_refused_before_it_is_read(host, mode):
    config = host.file("config.yaml", "not: [valid", mode=mode)
    with pytest.raises(ConfigurationError) as refused:
        load(config, environ={})
    assert refused.value.problems == [f"{config}: has mode {mode:04o}, open to others — fix: chmod {LESS} {config}"]


def test_a_configuration_that_is_missing_a_link_or_no_text_is_refused(host, minimal):
    config = host.file("config.yaml", minimal)
    link = host.folder / "link.yaml"
    link.symlink_to(config)
    binary = host.file("binary.yaml")
    binary.write_bytes(b"a: b\n\xff: c\n")
    for path, expected in {
        host.folder / "missing.yaml": ": does not exist — fix: ",
        link: ": is a symbolic link — fix: ",
        binary: ":2: is not UTF-8 text — fix: ",
    }.items():
        with pytest.raises(ConfigurationError) as refused:
            load(path, environ={})
        (problem,) = refused.value.problems
        assert problem.startswith(f"{path}{expected}")


def test_a_configuration_beyond_16_mebibytes_is_refused(host):
    config = host.file("config.yaml")
    with config.open("wb") as file:
        file.truncate(16 * 1024 * 1024 + 1)
    with pytest.raises(ConfigurationError, match="longer than 16777216 bytes"):
        load(config, environ={})


def test_no_secret_shows_in_the_settings_or_in_their_pickle(host, minimal):
    settings = host.load(
        minimal
        + REDIS
        + "roles: {dev: {chain: [{arn: 'arn:aws:iam::111122223333:role/D', external_id_file: '${EXTERNAL_ID_FILE}'}]}}\n"
    )
    key = host.folder.joinpath("encryption_key").read_text().strip()
    for shown in (repr(settings), str(settings), f"{settings}", repr(settings.model_dump()["redis"])):
        assert "canary" not in shown
        assert key not in shown
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(settings)


def test_no_secret_shows_in_the_traceback_of_a_refusal(host, minimal):
    config = host.file("config.yaml", minimal + REDIS + "unknown: canary\n")
    with pytest.raises(ConfigurationError) as refused:
        load(config, environ=host.environ)
    assert "canary" not in "".join(traceback.format_exception(refused.value))


def test_settings_cannot_be_changed_nor_made_without_the_loader(host, minimal):
    settings = host.load(minimal)
    with pytest.raises(ValueError, match="frozen"):
        settings.audit.directory = "/"
    with pytest.raises(TypeError, match=r"broker\.config\.load"):
        Settings.model_validate({"rules": ({"name": "a"},)})


def test_a_key_that_is_no_unicode_is_refused(host, minimal):
    (problem,) = host.problems(minimal + '"\\ud800": a')
    assert problem.startswith("FILE:6: half a character")


def test_a_key_with_a_line_break_gives_a_problem_of_one_line(host, minimal):
    (problem,) = host.problems(minimal + '"a\\nb\\e[31m": c\n')
    assert problem == r"FILE:6: a\nb\x1b[31m: is not a known key — fix: remove it"


def test_problems_come_from_top_to_bottom_with_other_sources_first(host, minimal):
    problems = host.problems(minimal + "z: 1\nredis: {}\na: 1\n", ZEROTRUST_TLS_X="1")
    assert [problem.split(": ")[0] for problem in problems] == [
        "environment ZEROTRUST_TLS_X",
        "FILE:6",
        "FILE:7",
        "FILE:8",
    ]


def test_two_thousand_rules_are_read_within_two_seconds(host, minimal):
    rules = "".join(f"- {{name: r{n}, principals: [u{n}@EXAMPLE.COM], roles: [dev]}}\n" for n in range(2000))
    roles = "roles: {dev: {chain: [{arn: 'arn:aws:iam::111122223333:role/D'}]}}\n"
    before = time.process_time()
    assert len(host.load(minimal + roles + "rules:\n" + rules).rules) == 2000
    assert time.process_time() - before < 2


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.text(st.sampled_from("ab:-[]{},&*!'\"#? \n\t0"), max_size=30),
    st.sampled_from(["", "redis: ", "roles: ", "rules:\n- "]),
)
def test_any_text_behind_a_good_configuration_is_taken_or_refused_in_whole_lines(host, minimal, text, before):
    for line in host.outcome(minimal + before + text):
        assert line.startswith("FILE:")
        assert " — fix: " in line
        assert line.isprintable()
