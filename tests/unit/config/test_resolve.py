"""Values that are sealed, and values that stand in the vault."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest
from pydantic import BaseModel

from broker.assembly.resolver import VaultResolver, sealed_value
from broker.config.fields import elsewhere_keys
from broker.config.load import load
from broker.config.model import Settings
from broker.config.resolve import Bootstrap, Unread
from broker.core.errors import ConfigurationError, ConfigurationUnavailable
from broker.core.secret import Secret
from tests.unit.config.conftest import KEY, Host

VAULT = """\
secrets: {provider: hashicorp, config: {url: "http://127.0.0.1:1", auth_method: token, token: canary-login}}
"""
REDIS = 'redis: {url: "redis://localhost", password_secret: "zerotrust/redis#password"}\n'
CHAIN = """\
roles:
  dev:
    chain: [{arn: "arn:aws:iam::111122223333:role/Dev", external_id_secret: "zerotrust/hops#dev"}]
"""


@dataclass
class Answering(VaultResolver):
    """A vault that is a dictionary; ``asked`` is what it was asked for."""

    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unread: Unread | None = None
    sections: frozenset[str] | None = None
    asked: list[Collection[str]] = field(default_factory=list)
    bootstrap: Bootstrap | None = None

    def __post_init__(self) -> None:
        super().__init__(sections=self.sections)

    def read(self, bootstrap: Bootstrap, paths: Collection[str]) -> Mapping[str, Mapping[str, Secret] | Unread]:
        self.asked.append(paths)
        self.bootstrap = bootstrap
        if self.unread is not None:
            raise self.unread
        missing = Unread("stands in a secret that is not there", "put it there")
        return {
            path: {name: Secret(text) for name, text in self.secrets[path].items()} if path in self.secrets else missing
            for path in paths
        }


GOOD = {"zerotrust/redis": {"password": "canary", "user": "broker"}, "zerotrust/hops": {"dev": "dev-canary"}}


def loaded(host: Host, text: str, resolver: VaultResolver | None = None, **environ: str) -> Settings:
    return load(
        host.file("config.yaml", text), environ={**host.environ, **environ}, resolver=resolver or Answering(GOOD)
    )


def refused(host: Host, text: str, resolver: VaultResolver | None = None, **environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        loaded(host, text, resolver, **environ)
    found = [line.replace(str(host.folder / "config.yaml"), "FILE") for line in caught.value.problems]
    assert all("canary" not in line and line.isprintable() for line in found)
    assert all("zerotrust/" not in line for line in found), "what stands in a path's place may be the secret"
    return found


def password(settings: Settings) -> str:
    assert settings.redis is not None
    assert settings.redis.password is not None
    return settings.redis.password.reveal()


def test_references_in_sections_and_in_lists_are_read_in_one_visit(host: Host, minimal: str) -> None:
    resolver = Answering(GOOD)
    settings = loaded(host, minimal + VAULT + REDIS + CHAIN, resolver)
    assert password(settings) == "canary"
    assert settings.roles["dev"].chain[0].external_id == "dev-canary"
    assert [list(paths) for paths in resolver.asked] == [["zerotrust/hops", "zerotrust/redis"]]
    assert resolver.bootstrap is not None
    assert resolver.bootstrap.secrets.config.token == Secret("canary-login")
    assert "canary" not in repr(settings.redis)


def test_the_environment_can_say_where_in_the_vault_a_value_stands_and_goes_before_the_file(
    host: Host, minimal: str
) -> None:
    text = minimal + VAULT + 'redis: {url: "redis://localhost", password: other}\n'
    assert password(loaded(host, text, ZEROTRUST_REDIS_PASSWORD_SECRET="zerotrust/redis#password")) == "canary"
    assert password(loaded(host, minimal + VAULT + REDIS, ZEROTRUST_REDIS_PASSWORD="third")) == "third"
    (line,) = refused(host, text, ZEROTRUST_REDIS_PASSWORD_SECRET="zerotrust/redis", ZEROTRUST_REDIS_PASSWORD="x")
    assert line.startswith("environment ZEROTRUST_REDIS_PASSWORD_SECRET: redis.password: stands beside")


@pytest.mark.parametrize(
    ("reference", "value"),
    [("one", "canary-1"), ("named", "canary-2"), ("one#a", "canary-1"), ("named#value", "canary-2")],
)
def test_the_field_may_be_left_out_where_it_is_clear(host: Host, minimal: str, reference: str, value: str) -> None:
    resolver = Answering({"one": {"a": "canary-1"}, "named": {"value": "canary-2", "other": "x"}})
    text = minimal + VAULT + f'redis: {{url: "redis://localhost", password_secret: "{reference}"}}\n'
    assert password(loaded(host, text, resolver)) == value


@pytest.mark.parametrize(
    ("reference", "what"),
    [
        ("zerotrust/redis", "stands in a secret with several fields"),
        ("zerotrust/redis#canary", "stands in a secret without that field"),
        ("zerotrust/nowhere#canary", "stands in a secret that is not there"),
        ("zerotrust/redis#", "does not say where its secret stands"),
        ("two canary words", "does not say where its secret stands"),
        ("a#canary#c", "does not say where its secret stands"),
    ],
)
def test_what_a_reference_does_not_find_is_one_line_with_its_place(
    host: Host, minimal: str, reference: str, what: str
) -> None:
    text = minimal + VAULT + f'redis:\n  url: "redis://localhost"\n  password_secret: "{reference}"\n'
    (line,) = refused(host, text)
    assert line.startswith(f"FILE:9: redis.password: {what} — fix: ")


def test_what_the_vault_holds_is_judged_like_any_other_value(host: Host, minimal: str) -> None:
    resolver = Answering({"zerotrust/hops": {"dev": "canary with blanks"}})
    (line,) = refused(host, minimal + VAULT + CHAIN, resolver)
    assert line.startswith("FILE:9: roles.dev.chain[0].external_id: is not an external ID")


def test_two_sources_of_one_key_are_refused_whichever_they_are(host: Host, minimal: str) -> None:
    for other in ("password: canary", f"password_file: {host.environ['KEY_FILE']}"):
        text = minimal + VAULT + f'redis: {{url: "redis://localhost", password_secret: "a#b", {other}}}\n'
        (line,) = refused(host, text)
        assert "stands beside password_secret — fix: keep one of the two" in line


def test_a_key_of_the_model_that_ends_so_is_no_reference(host: Host, minimal: str) -> None:
    vault = (
        "secrets: {provider: azure, config: {vault_url: 'https://v.example', tenant_id: t, client_id: c, "
        "client_secret: canary}}\n"
    )
    resolver = Answering(GOOD)
    settings = loaded(host, minimal + vault, resolver)
    assert settings.secrets.config.client_secret == Secret("canary")
    assert settings.secrets.config.client_id == "c"
    assert resolver.asked == []


@pytest.mark.parametrize(
    "text",
    [
        VAULT.replace("token: canary-login", 'token: canary-login, namespace_secret: "a#b"'),
        "encryption: {key_secret: 'a#b'}\n",
        "secrets: {cache_ttl_secret: 'a#b'}\n",
    ],
)
def test_what_leads_to_the_vault_cannot_stand_in_it(host: Host, minimal: str, text: str) -> None:
    resolver = Answering({"a": {"b": "canary"}})
    bare = minimal.replace('encryption: {key_file: "${KEY_FILE}"}\n', "") if "encryption" in text else minimal
    (line,) = refused(host, bare + text, resolver)
    assert "leads to the vault, and cannot stand in it — fix: write it out, or as " in line
    assert resolver.asked == []


def test_the_encryption_key_can_stand_in_somebody_elses_vault_and_opens_what_is_sealed(
    host: Host, minimal: str
) -> None:
    sealed = sealed_value(loaded(host, minimal), key="redis.password", text="canary")
    bare = minimal.replace('key_file: "${KEY_FILE}"', 'key_secret: "master"')
    resolver = Answering({"master": {"value": base64.b64encode(KEY).decode()}})
    text = bare + VAULT + f'redis: {{url: "redis://localhost", password: "{sealed}"}}\n'
    settings = loaded(host, text, resolver)
    assert (settings.encryption.key_bytes(), password(settings)) == (KEY, "canary")


def test_faults_of_the_section_that_leads_to_the_vault_are_all_that_is_said_and_nothing_is_asked(
    host: Host, minimal: str
) -> None:
    resolver = Answering(GOOD)
    (line,) = refused(host, minimal + VAULT.replace("url:", "ulr:") + REDIS, resolver)[:1]
    assert "secrets.config" in line
    assert resolver.asked == []


def test_a_vault_that_does_not_answer_is_one_line_and_may_answer_later(host: Host, minimal: str) -> None:
    resolver = Answering(unread=Unread("stands in a vault that does not answer", "start it", later=True))
    with pytest.raises(ConfigurationUnavailable) as caught:
        loaded(host, minimal + VAULT + REDIS + CHAIN, resolver)
    (line,) = caught.value.problems
    assert line.endswith("external_id: stands in a vault that does not answer — fix: start it")
    lines = refused(host, minimal + VAULT + REDIS + "watch: {no: 1}\n", resolver)
    assert ["watch.no" in line for line in lines] == [False, True], "another fault is told, and remains one"


def test_a_vault_that_refuses_us_is_a_fault_of_the_configuration(host: Host, minimal: str) -> None:
    resolver = Answering(unread=Unread("stands in a vault that refuses us", "look at the policy"))
    (line,) = refused(host, minimal + VAULT + REDIS + CHAIN, resolver)
    assert line.startswith("FILE:10: roles.dev.chain[0].external_id: stands in a vault that refuses us")


def test_who_needs_no_secret_of_a_section_does_not_ask_the_vault_and_cannot_use_it_by_mistake(
    host: Host, minimal: str
) -> None:
    resolver = Answering(GOOD, sections=frozenset({"encryption"}))
    settings = loaded(host, minimal + VAULT + REDIS, resolver)
    assert resolver.asked == []
    with pytest.raises(ConfigurationError, match=r"redis\.password: stands in the vault, which this command does not"):
        password(settings)


def test_without_a_resolver_nothing_passes_for_a_value(host: Host, minimal: str) -> None:
    (line,) = host.problems(minimal + VAULT + REDIS)
    assert "redis.password: is sealed or stands in the vault, and nobody opens it here" in line


# ---- sealed ----


def with_password(text: str, value: str) -> str:
    return text + f'redis: {{url: "redis://localhost", password: "{value}"}}\n'


def test_a_sealed_value_opens_at_its_own_key(host: Host, minimal: str) -> None:
    settings = loaded(host, minimal)
    sealed = sealed_value(settings, key="redis.password", text="canary ü")
    assert "canary" not in sealed
    assert sealed.startswith("enc:v1:")
    assert password(loaded(host, with_password(minimal, sealed))) == "canary ü"
    file = host.file("password", sealed + "\n")
    assert password(loaded(host, with_password(minimal, "x"), ZEROTRUST_REDIS_PASSWORD_FILE=str(file))) == "canary ü"
    hop = sealed_value(settings, key="roles.dev.chain[0].external_id", text="dev-canary")
    chain = CHAIN.replace('_secret: "zerotrust/hops#dev"', f': "{hop}"')
    assert loaded(host, minimal + chain).roles["dev"].chain[0].external_id == "dev-canary"


def test_a_sealed_value_opens_nowhere_else(host: Host, minimal: str) -> None:
    settings = loaded(host, minimal)
    moved = sealed_value(settings, key="aws.secret_key", text="canary")
    own = sealed_value(settings, key="redis.password", text="canary")
    flipped = own[:-3] + ("A" if own[-3] != "A" else "B") + own[-2:]
    for bad in (moved, flipped, own[:40], "enc:v1:", "enc:v1:canary"):
        (line,) = refused(host, with_password(minimal, bad))
        assert line.startswith("FILE:6: redis.password: is sealed for another key of the configuration"), bad
        assert own[8:] not in line
    other = base64.b64encode(bytes(32)).decode()
    (line,) = refused(host, with_password(minimal, own), ZEROTRUST_ENCRYPTION_KEY=other)
    assert "with another encryption.key" in line
    former = {"ZEROTRUST_ENCRYPTION_KEY": other, "ZEROTRUST_ENCRYPTION_PREVIOUS_KEY_FILES": host.environ["KEY_FILE"]}
    assert password(loaded(host, with_password(minimal, own), **former)) == "canary"


def test_the_encryption_key_cannot_be_sealed_with_itself(host: Host, minimal: str) -> None:
    bare = minimal.replace('encryption: {key_file: "${KEY_FILE}"}', 'encryption: {key: "enc:v1:canary"}')
    lines = refused(host, bare)
    assert any("is sealed with a key that stands in its own section" in line or "32 bytes" in line for line in lines)


def test_the_login_to_the_vault_may_be_sealed(host: Host, minimal: str) -> None:
    sealed = sealed_value(loaded(host, minimal), key="secrets.config.token", text="canary-login")
    resolver = Answering(GOOD)
    assert password(loaded(host, minimal + VAULT.replace("canary-login", f'"{sealed}"') + REDIS, resolver)) == "canary"
    assert resolver.bootstrap is not None
    assert resolver.bootstrap.secrets.config.token == Secret("canary-login")


def test_a_key_of_the_model_goes_before_a_variant_of_another() -> None:
    class Login(BaseModel):
        client: str
        client_secret: str

    assert elsewhere_keys(Login, "client") == ("client_file",)
    assert elsewhere_keys(Login, "client_secret") == ("client_secret_file", "client_secret_secret")
