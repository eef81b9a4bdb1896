from __future__ import annotations

import os
from operator import attrgetter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.config.fields import Kind, leaves
from broker.config.model import Settings
from broker.core.secret import Secret
from tests.unit.config.conftest import KEY

# What makes a file of this process private.
LESS = "g-w,o=" if os.geteuid() == 0 else "600"
LEAVES = list(leaves(Settings))


def test_every_key_outside_lists_and_mappings_has_one_variable_named_after_its_path():
    variables = [leaf.variable for leaf in LEAVES]
    assert len(set(variables)) == len(variables)
    assert {
        "ZEROTRUST_SERVER_LISTEN",
        "ZEROTRUST_AWS_SECRET_KEY",
        "ZEROTRUST_REDIS_PASSWORD",
        "ZEROTRUST_ENCRYPTION_KEY",
        "ZEROTRUST_AUDIT_DIRECTORY",
        "ZEROTRUST_ROLES",
        "ZEROTRUST_RULES",
    } <= set(variables)


def test_a_whole_configuration_can_come_from_the_environment(host):
    settings = host.load(
        "{}",
        ZEROTRUST_SERVER_LISTEN="http://127.0.0.1:0, unix:/run/broker.sock",
        ZEROTRUST_SERVER_HOSTNAMES="[a.example.com, b.example.com]",
        ZEROTRUST_KERBEROS_KEYTABS=host.environ["KEYTAB"],
        ZEROTRUST_KERBEROS_REALMS="{EXAMPLE.COM: {}}",
        ZEROTRUST_AWS_REGION="eu-central-1",
        ZEROTRUST_AWS_ALLOWED_ACCOUNTS="012345670123",
        ZEROTRUST_ROLES='{dev: {chain: [{arn: "arn:aws:iam::012345670123:role/D", external_id: hub}]}}',
        ZEROTRUST_RULES="- name: a\n  principals: [alice@EXAMPLE.COM]\n  roles: [dev]",
        ZEROTRUST_REDIS_URL="redis://localhost",
        ZEROTRUST_REDIS_PASSWORD="canary",
        ZEROTRUST_ENCRYPTION_KEY_FILE=host.environ["KEY_FILE"],
        ZEROTRUST_AUDIT_DIRECTORY="/srv/audit",
    )
    assert [str(listener) for listener in settings.server.listen] == ["http://127.0.0.1:0", "unix:/run/broker.sock"]
    assert settings.server.hostnames == ("a.example.com", "b.example.com")
    assert settings.aws.allowed_accounts == ("012345670123",)
    assert settings.rules[0].roles == ("dev",)
    assert settings.redis is not None
    assert settings.redis.password == Secret("canary")
    assert settings.encryption.key_bytes() == KEY


_APPROLE = {"url": "https://v.example.com", "auth_method": "approle", "role_id": "r"}
_TOKEN = {"url": "https://v.example.com", "auth_method": "token"}
_AZURE = {"vault_url": "https://v.vault.azure.net", "tenant_id": "t", "client_id": "c"}
# What must stand beside a secret of a provider, by the section that has providers.
_BESIDE = {
    "secrets": {
        "secret_id": ("hashicorp", _APPROLE),
        "token": ("hashicorp", _TOKEN),
        "client_secret": ("azure", _AZURE),
        "api_key": ("cyberark", {"url": "https://c.example.com", "account": "a", "login": "host/b"}),
    },
    "encryption_master": {
        "secret_id": ("vault-transit", {**_APPROLE, "key_name": "k"}),
        "token": ("vault-transit", {**_TOKEN, "key_name": "k"}),
        "client_secret": ("azure-key-vault", {**_AZURE, "key_name": "k"}),
    },
    "encryption_hsm": {
        "pin": ("pkcs11", {"module": "/usr/lib/module.so", "token_label": "broker"}),
        "hsm_password": ("aws-cloudhsm", {"cluster_id": "cluster-1", "hsm_ip": "10.0.0.1", "hsm_username": "u"}),
    },
}


def beside(leaf):
    if leaf.path[:2] == ("redis", "sentinel"):
        return {"ZEROTRUST_REDIS_SENTINEL_HOSTS": "redis://localhost", "ZEROTRUST_REDIS_SENTINEL_SERVICE": "s"}
    section = "_".join(leaf.path[:-2])
    if section not in _BESIDE:
        return {}
    provider, config = _BESIDE[section][leaf.path[-1]]
    prefix = f"ZEROTRUST_{section.upper()}"
    others = {f"{prefix}_CONFIG_{key.upper()}": value for key, value in config.items()}
    return {f"{prefix}_PROVIDER": provider, **others}


@pytest.mark.parametrize("leaf", [leaf for leaf in LEAVES if leaf.shape.is_secret], ids=lambda leaf: leaf.variable)
def test_every_secret_can_come_from_all_its_sources(host, minimal, leaf):
    *sections, key = leaf.path
    value = "A" * 43
    file = str(host.file("a_secret", value + "\n"))
    credentials = {"CREDENTIALS_DIRECTORY": str(host.file(f"credentials/{leaf.credential}", value).parent)}
    bare = minimal.replace('encryption: {key_file: "${KEY_FILE}"}', "")
    bare = bare.replace("aws: {region", "aws: {access_key_id: AKIATESTTESTTESTTEST, region")
    others = {
        **({"ZEROTRUST_REDIS_URL": "redis://localhost"} if leaf.path[:2] != ("redis", "sentinel") else {}),
        "ZEROTRUST_ENCRYPTION_KEY": "B" * 43,
        "ZEROTRUST_AWS_SECRET_KEY": "other",
        **beside(leaf),
    }
    others.pop(leaf.variable, None)
    del host.environ["ZEROTRUST_AWS_SECRET_KEY"]
    for source in ({leaf.variable: value}, {f"{leaf.variable}_FILE": file}, credentials):
        loaded = host.load(bare, **others, **source)
        assert attrgetter(".".join((*sections, key)))(loaded) == Secret(value)


def test_the_environment_wins_over_a_credential_and_a_credential_over_the_file(host, minimal):
    text = minimal + "redis: {url: 'redis://localhost', password_file: /nonexistent/file}\n"
    assert any("does not exist" in line for line in host.problems(text))
    credentials = str(host.file("credentials/redis.password", "credential").parent)
    by_credential = host.load(text, CREDENTIALS_DIRECTORY=credentials)
    assert by_credential.redis.password == Secret("credential")
    by_variable = host.load(text, CREDENTIALS_DIRECTORY=credentials, ZEROTRUST_REDIS_PASSWORD="variable")
    assert by_variable.redis.password == Secret("variable")


def test_what_another_source_replaces_is_neither_read_nor_complained_about(host, minimal):
    text = minimal + "redis: {url: '${NO_SUCH_VARIABLE}', password: a, password_file: '${NO_SUCH_VARIABLE}'}\n"
    settings = host.load(text, ZEROTRUST_REDIS_URL="redis://localhost", ZEROTRUST_REDIS_PASSWORD="b")
    assert settings.redis.password == Secret("b")


def test_files_named_in_a_variable_s_yaml_are_read(host, minimal):
    chain = f"[{{arn: 'arn:aws:iam::012345670123:role/D', external_id_file: {host.environ['EXTERNAL_ID_FILE']}}}]"
    settings = host.load(minimal, ZEROTRUST_ROLES=f"{{dev: {{chain: {chain}}}}}")
    assert settings.roles["dev"].chain[0].external_id == "dev-canary"


def test_a_variable_cannot_mend_a_section_that_is_no_mapping(host, minimal):
    assert host.problems(minimal + "redis: a\n", ZEROTRUST_REDIS_URL="redis://localhost") == [
        "FILE:6: redis: is not a mapping — fix: write key: value lines below it"
    ]


def test_a_credentials_directory_that_cannot_be_read_is_a_problem(host, minimal):
    (problem,) = host.problems(minimal, CREDENTIALS_DIRECTORY="/nonexistent")
    assert problem.startswith("environment CREDENTIALS_DIRECTORY: cannot be read (No such file or directory) — fix: ")


def test_only_one_newline_is_dropped_at_the_end_of_a_secret_file(host, minimal):
    for content, expected in {"a\n": "a", "a\r\n": "a", " a \n\n": " a \n", "a": "a"}.items():
        path = host.file("password", content)
        settings = host.load(minimal + f"redis: {{url: 'redis://localhost', password_file: {path}}}\n")
        assert settings.redis.password == Secret(expected)


def test_a_secret_file_that_others_can_read_is_refused_with_its_mode(host, minimal):
    path = host.file("password", "canary", mode=0o644)
    assert host.problems(minimal + f"redis: {{url: 'redis://localhost', password_file: {path}}}\n") == [
        f"FILE:6: redis.password: the file has mode 0644, open to others — fix: chmod {LESS} HOST/password"
    ]


def test_a_secret_file_that_is_long_or_no_text_is_refused(host, minimal):
    long = host.file("long", "x" * (64 * 1024 + 1))
    binary = host.file("binary")
    binary.write_bytes(b"\xff\xfe")
    for path, words in {long: "the file is longer than 65536 bytes", binary: "the file is not UTF-8 text"}.items():
        (problem,) = host.problems(
            minimal, ZEROTRUST_REDIS_URL="redis://localhost", ZEROTRUST_REDIS_PASSWORD_FILE=str(path)
        )
        assert problem.startswith(f"environment ZEROTRUST_REDIS_PASSWORD_FILE: redis.password: {words}")


def test_a_secret_written_where_its_file_belongs_is_not_repeated(host, minimal):
    for value in ("canary", "/canary+base64=="):
        text = minimal.replace("${KEY_FILE}", value)
        assert not any("canary" in line for line in host.problems(text))


def test_a_credential_for_a_path_is_the_path_itself(host, minimal):
    credential = host.file("credentials/tls.private_key", "key")
    text = minimal + "tls: {certificate: '${CERTIFICATE}'}\n"
    settings = host.load(text, CREDENTIALS_DIRECTORY=str(credential.parent))
    assert settings.tls.private_key == credential


def test_a_credential_that_is_no_key_of_its_section_is_a_problem_and_others_are_not_ours(host, minimal):
    host.file("credentials/redis.passwort", "canary")
    folder = host.file("credentials/somebody.else", "canary").parent
    (problem,) = host.problems(minimal, CREDENTIALS_DIRECTORY=str(folder))
    assert problem == (
        "systemd credential redis.passwort: no key of this name can be set by a credential — fix: "
        'write "redis.password", or give it a name that does not begin like a key'
    )


def test_a_variable_that_fits_no_key_of_its_section_is_a_problem(host, minimal):
    assert host.problems(minimal, ZEROTRUST_REDIS_PASSWORT="canary", ZEROTRUST_TLS="x", ZEROTRUST_ROLES_DEV="x") == [
        'environment ZEROTRUST_REDIS_PASSWORT: belongs to no key — fix: write "ZEROTRUST_REDIS_PASSWORD", or unset it',
        "environment ZEROTRUST_ROLES_DEV: belongs to no key — fix: unset it",
        "environment ZEROTRUST_TLS: belongs to no key — fix: unset it",
    ]


def test_variables_of_other_programs_are_left_alone(host, minimal):
    others = {"BROKER_URL": "x", "CONFIG": "x", "ADMIN_SOCKET": "x", "ADMIN_SIGNING_KEY": "x", "CA_FILE": "x", "": "x"}
    host.load(minimal, **{f"ZEROTRUST_{name}": value for name, value in others.items()}, ZEROTRUSTED="x")


def test_the_operators_socket_comes_from_the_environment_where_there_are_operators(host, minimal):
    path = {"ZEROTRUST_ADMIN_SOCKET": "/run/admin.sock", "ZEROTRUST_ADMIN_REQUIRE_SIGNED_REQUESTS": "false"}
    settings = host.load(minimal, **path, ZEROTRUST_ADMIN_PRINCIPALS="root/admin@EXAMPLE.COM")
    assert [str(listener) for listener in settings.listeners][1:] == ["unix:/run/admin.sock"]
    (problem,) = host.problems(f"{minimal}admin: {{principals: [a/b@EXAMPLE.COM]}}", ZEROTRUST_ADMIN_SOCKET="x")
    assert problem.startswith("environment ZEROTRUST_ADMIN_SOCKET: admin.socket: is not an absolute path")


def test_a_variable_beside_its_file_variable_is_a_problem(host, minimal):
    file = host.environ["KEY_FILE"]
    (problem,) = host.problems(minimal, ZEROTRUST_ENCRYPTION_KEY="A" * 43, ZEROTRUST_ENCRYPTION_KEY_FILE=file)
    assert problem == (
        "environment ZEROTRUST_ENCRYPTION_KEY_FILE: encryption.key: stands beside ZEROTRUST_ENCRYPTION_KEY — fix: "
        "keep one of the two"
    )


def test_problems_of_a_variable_name_it_and_do_not_quote_it(host, minimal):
    problems = host.problems(
        minimal,
        ZEROTRUST_AWS_REGION="canary",
        ZEROTRUST_SERVER_LISTEN="http://canary:80,",
        ZEROTRUST_KERBEROS_REALMS="{EXAMPLE.COM: canary, *canary : {}}",
        ZEROTRUST_AWS_ALLOWED_ACCOUNTS="[111122223333]",
        ZEROTRUST_RULES="canary",
    )
    assert [problem.partition(" — ")[0] for problem in problems] == [
        "environment ZEROTRUST_KERBEROS_REALMS: kerberos.realms: an alias (*name) stands where a key belongs",
        "environment ZEROTRUST_SERVER_LISTEN: server.listen[0]: is plain http beyond loopback",
        "environment ZEROTRUST_SERVER_LISTEN: server.listen[1]: is empty",
        "environment ZEROTRUST_AWS_REGION: aws.region: is not an AWS region",
        "environment ZEROTRUST_AWS_ALLOWED_ACCOUNTS: aws.allowed_accounts[0]: is a number, not text",
        "environment ZEROTRUST_RULES: rules: is not a list",
    ]


def test_a_value_that_is_no_utf_8_is_refused(host, minimal):
    (problem,) = host.problems(minimal, ZEROTRUST_REDIS_URL="redis://localhost", ZEROTRUST_REDIS_PASSWORD="\udcff")
    assert problem.startswith("environment ZEROTRUST_REDIS_PASSWORD: redis.password: is not UTF-8 text")


def test_the_sdk_s_own_variables_are_the_last_resort(host, minimal):
    del host.environ["ZEROTRUST_AWS_SECRET_KEY"]
    sdk = {"AWS_SECRET_ACCESS_KEY": "sdk", "AWS_SESSION_TOKEN": "token"}
    settings = host.load(minimal, **sdk)
    assert settings.aws.access_key_id == "AKIATESTTESTTESTTEST"
    assert settings.aws.secret_key == Secret("sdk")
    assert settings.aws.session_token == Secret("token")
    settings = host.load(minimal, **sdk, ZEROTRUST_AWS_SECRET_KEY="ours", ZEROTRUST_AWS_ACCESS_KEY_ID="A" * 20)
    assert settings.aws.access_key_id == "A" * 20
    assert settings.aws.secret_key == Secret("ours")


def test_the_sdk_s_own_variables_mean_nothing_to_the_default_provider(host, minimal):
    del host.environ["ZEROTRUST_AWS_SECRET_KEY"]
    settings = host.load(minimal, AWS_SECRET_ACCESS_KEY="sdk", ZEROTRUST_AWS_CREDENTIALS_PROVIDER="default")
    assert settings.aws.access_key_id is settings.aws.secret_key is None


def test_missing_aws_keys_are_both_named(host, minimal):
    host.environ = {name: value for name, value in host.environ.items() if "AWS" not in name}
    missing = "is missing, and credentials_provider is environment"
    assert [line.partition(" — ")[0] for line in host.problems(minimal)] == [
        f"FILE:3: aws.access_key_id: {missing}",
        f"FILE:3: aws.secret_key: {missing}",
    ]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    leaf=st.sampled_from(LEAVES),
    value=st.text(st.sampled_from("a1:/[]{},*&!${}'\"\n- \ud800"), max_size=12),
    suffix=st.sampled_from(["", "", "_FILE"]),
)
def test_any_value_of_any_variable_is_taken_or_refused_by_name(host, minimal, leaf, value, suffix):
    variable = leaf.variable + suffix
    refused = host.outcome(minimal, **{variable: value})
    if refused:
        assert any(line.startswith(f"environment {variable}: ") for line in refused)
    else:
        assert suffix == "" or leaf.shape.kind is Kind.SCALAR


def test_what_was_revoked_is_kept_where_systemd_says_unless_a_key_says_more(host, minimal):
    assert host.load(minimal).state_directory == host.load(minimal).audit.directory
    assert host.load(minimal, STATE_DIRECTORY="/var/lib/one:/var/lib/two").state_directory == Path("/var/lib/one")
    told = host.load(minimal, STATE_DIRECTORY="/var/lib/one", ZEROTRUST_STATE_DIRECTORY="/srv/state")
    assert told.state_directory == Path("/srv/state")
