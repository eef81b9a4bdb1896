"""The configuration loader: settings, or problems of one printable line each, none of which repeats a secret.

An input is the YAML text, and after each NUL byte, which YAML forbids, a line `NAME=VALUE` of the environment.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING

from broker.config.load import load
from broker.config.model import Settings
from broker.core.errors import ConfigurationError
from tests.fuzz import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

VECTORS = Path(__file__).parents[1] / "vectors" / "configs"
FOLDER = scratch.folder()

# Never to be seen in a problem, wherever the fuzzer has them quoted from.
CANARY = "canary-that-is-nobodys-password"
KEY = base64.b64encode(bytes(range(32))).decode()


def file(name: str, text: str) -> str:
    path = FOLDER / name
    path.touch(mode=0o600)
    path.write_text(text)
    return str(path)


FILE = Path(file("config.yaml", ""))
KEYTABS = scratch.folder()
KEYTABS.joinpath("other.keytab").touch(mode=0o600)
ENVIRON = {
    "KEYTAB": file("http.keytab", ""),
    "KEYTAB_FOLDER": str(KEYTABS),
    "KEY_FILE": file("key", KEY),
    "EXTERNAL_ID_FILE": file("external_id", CANARY),
    "REDIS_PASSWORD": CANARY,
    "REDIS_PASSWORD_FILE": file("password", CANARY),
    "CERTIFICATE": file("server.crt", ""),
    "PRIVATE_KEY": file("server.key", CANARY),
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE000000000",
    "AWS_SECRET_ACCESS_KEY": CANARY,
}


def seeds() -> Iterator[bytes]:
    for path in sorted(VECTORS.glob("*/*.yaml")):
        yield path.read_bytes()
    minimal = (VECTORS / "good" / "minimal.yaml").read_bytes()
    yield minimal + b"\0ZEROTRUST_SERVER_LISTEN=[http://127.0.0.1:0]"
    yield minimal + b'\0ZEROTRUST_REDIS_URL="redis://localhost"\0ZEROTRUST_REDIS_PASSWORD=${REDIS_PASSWORD}'
    yield minimal + b"\0ZEROTRUST_ROLES={dev: {chain: [{arn: 'arn:aws:iam::111122223333:role/Dev'}]}}"
    yield minimal + b"\0ZEROTRUST_REDIS_PASSWORD_FILE=" + ENVIRON["REDIS_PASSWORD_FILE"].encode()
    yield minimal + b"\0AWS_ACCESS_KEY_ID=AKIA\0AWS_SECRET_ACCESS_KEY=x\0CREDENTIALS_DIRECTORY=" + os.fsencode(FOLDER)
    for place in (b"eu-central-1", b"http://127.0.0.1:0", b"/var/log/zerotrust/audit", b"EXAMPLE.COM"):
        yield minimal.replace(place, b'"${REDIS_PASSWORD}"').replace(b'""', b'"')
    yield minimal + b"rules: [{name: r, principals: ['${REDIS_PASSWORD}'], roles: ['${REDIS_PASSWORD}']}]"
    yield minimal + b"roles: {dev: {chain: [{arn: '${REDIS_PASSWORD}'}], duration: '${REDIS_PASSWORD}'}}"
    yield minimal + b"\0ZEROTRUST_SERVER_LISTEN=" + CANARY.encode()
    yield (
        minimal
        + b"\0ZEROTRUST_AWS_REGION="
        + CANARY.encode()
        + b"\0ZEROTRUST_KERBEROS_REALMS={A: ["
        + CANARY.encode()
        + b"]}"
    )
    yield b"redis: {url: '${REDIS_PASSWORD}', password: ['${REDIS_PASSWORD}']}\nroles: {'${KEY_FILE}': '${REDIS_PASSWORD}'}"


def one_input(data: bytes) -> None:
    text, *variables = data.split(b"\0")
    FILE.write_bytes(text)
    environ = dict(ENVIRON)
    for variable in variables:
        name, _, value = os.fsdecode(variable).partition("=")
        environ[name] = value
    try:
        settings = load(FILE, environ=environ)
    except ConfigurationError as error:
        judge(error.problems, text, variables)
        return
    assert isinstance(settings, Settings)
    assert load(FILE, environ=environ) == settings


def judge(problems: list[str], text: bytes, variables: list[bytes]) -> None:
    assert problems
    for problem in problems:
        assert problem.isprintable(), problem
        assert " — fix: " in problem, problem
        assert KEY not in problem, problem
        # What stands in the file for all its readers may be quoted, and names of variables and keys are no secrets. A value
        # that only the environment or another file holds is not quoted.
        if not any(CANARY.encode() in given for given in (text, *variables)):
            assert CANARY not in problem, problem
        elif CANARY.encode() not in text:
            assert repr(CANARY) not in problem, problem
