from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from broker.config.fields import keys, shape
from broker.config.model import Settings
from broker.config.reference import EXAMPLE, page, schema

DOCS = Path(__file__).parents[3] / "docs" / "configuration.md"
SESSIONS = DOCS.with_name("sessions.md")


def _models(model: type[BaseModel]) -> list[type[BaseModel]]:
    inner = [shape(info).model for _key, info in keys(model)]
    return [model, *(found for child in inner if child for found in _models(child))]


def test_the_page_in_docs_is_the_one_that_the_model_makes():
    assert DOCS.read_text() == page(), "run: make docs"


def test_every_key_has_a_meaning_in_the_page():
    text = page()
    for model in _models(Settings)[1:]:
        assert model.model_fields == {} or model.__doc__ in text
        for key, info in keys(model):
            assert info.description
            if shape(info).model is None:
                assert f"| `{key}` |" in text
                assert info.description.replace("|", r"\|") in text


@pytest.mark.parametrize("block", re.findall(r"^```yaml\n(.*?)^```$", SESSIONS.read_text(), re.MULTILINE | re.DOTALL))
def test_what_the_page_on_sessions_shows_is_accepted(host, minimal, block):
    assert host.load(minimal + block).roles


def test_the_example_of_the_page_is_accepted(host):
    text = EXAMPLE
    for path, name in {
        "/etc/zerotrust/tls/server.crt": "CERTIFICATE",
        "/etc/zerotrust/tls/server.key": "PRIVATE_KEY",
        "/etc/zerotrust/keytabs": "KEYTAB_FOLDER",
        "/etc/zerotrust/secrets/dev-external-id": "EXTERNAL_ID_FILE",
        "/etc/zerotrust/secrets/redis_password": "EXTERNAL_ID_FILE",
        "/etc/zerotrust/secrets/encryption_key": "KEY_FILE",
    }.items():
        assert path in text
        text = text.replace(path, host.environ[name])
    assert set(host.load(text).roles) == {"developer"}
    jsonschema.validate(yaml.safe_load(EXAMPLE), schema())


def test_the_schema_is_one_of_draft_2020_12():
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize(
    "text",
    [
        "sever: {}",
        "redis: {passwort: x}",
        "redis: {password: 1}",
        "tls: {min_version: TLSv1.1}",
        "tls: {private_key_file: /x}",
        "roles: {dev: {chain: [{external_id: x}]}}",
        "roles: {dev: {}}",
        "rules: [{name: a}]",
        "aws: {allowed_accounts: [111122223333]}",
        "kerberos: {realms: [EXAMPLE.COM]}",
        "redis:",
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(host, minimal, text):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), schema())
    section = text.partition(":")[0]
    others = "".join(line for line in minimal.splitlines(keepends=True) if not line.startswith(section))
    assert host.problems(others + text)
