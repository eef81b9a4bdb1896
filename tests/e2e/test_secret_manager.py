"""``SecretManager`` for programs: the guide's example as it prints it, against a broker, a KDC and a strict STS."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import settings_of
from tests.fakes import guide, memory_of
from tests.fakes.broker import BrokerProcess
from tests.fakes.realm import Realm
from tests.fakes.sts import Role, StrictSts, World, demo

REPOSITORY = Path(__file__).parents[2]
# What the guide's program asks for.
ROLE = "arn:aws:iam::123456789012:role/Developer"
SIX = "ASIA[A-Z0-9]{16}"


def world() -> World:
    hub = Role(
        arn=demo.HUB_ROLE,
        trust_policy=demo.trust(demo.BROKER_USER, external_id=demo.HUB_EXTERNAL_ID),
        policy=demo.allow(demo.ASSUME_ACTIONS, ROLE),
    )
    own = Role(arn=ROLE, trust_policy=demo.trust(demo.HUB_ROLE, external_id=demo.DEVELOPER_EXTERNAL_ID))
    return World(users=demo.demo_world().users, roles=(hub, own))


@pytest.fixture(scope="module")
def broker(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    folder = tmp_path_factory.mktemp("sdk")
    with StrictSts(world()) as sts:
        chain = [
            {"arn": demo.HUB_ROLE, "external_id": demo.HUB_EXTERNAL_ID},
            {"arn": ROLE, "external_id": demo.DEVELOPER_EXTERNAL_ID},
        ]
        twin = {"chain": [chain[0], {**chain[1], "arn": ROLE.replace("Developer", "Twin")}]}
        settings = settings_of(
            folder,
            realm,
            sts,
            roles={"developer": {"chain": chain}, "one": twin, "two": twin},
            rules=[{"name": "all", "principals": ["alice@EXAMPLE.COM"], "roles": ["developer", "one", "two"]}],
        )
        with BrokerProcess(folder, settings, env=realm.env) as running:
            yield running


def command(code: str, who: dict[str, str], url: str | None, **environ: str) -> dict[str, Any]:
    where = {} if url is None else {"ZEROTRUST_BROKER_URL": url}
    env = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(REPOSITORY),
        "HOME": os.environ["HOME"],
        **who,
        **where,
        **environ,
    }
    return {"args": [sys.executable, "-c", code], "env": env}


def program(code: str, who: dict[str, str], url: str | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(**command(code, who, url), capture_output=True, text=True, check=False, timeout=60)


def test_the_guides_program_gets_credentials_of_the_role_it_names(broker: BrokerProcess, alice: dict[str, str]) -> None:
    code = guide.python("SecretManager")
    # In the place of the guide's own `pass`, and behind its last line.
    shown = (
        "print(creds.access_key_id, len(creds.secret_access_key), len(creds.session_token) > 100, creds, flush=True)"
    )
    assert code.count("    pass ") == 1
    done = program(code.replace("    pass ", f"    {shown} ") + "\ncreds.secret_access_key", alice, broker.url)
    assert re.fullmatch(rf"({SIX}) 40 True Credentials\(\1, \*\*\*, until [0-9TZ:-]+\)\n", done.stdout), done.stderr
    assert done.stderr.splitlines()[-1] == "broker.locked.Wiped: this was wiped, or belongs to the process that forked"
    assert program(code, alice, broker.url).returncode == 0, "and exactly as printed"
    issued = [record for record in broker.records() if record["event"] == "issued"]
    assert [(record["user"], record["role"]) for record in issued] == [("alice@EXAMPLE.COM", "developer")] * 2


TRY = """
from zerotrust_kerberos import SecretManager, ZeroTrustError
try:
    print(SecretManager({how}).get_aws_credentials({what}).access_key_id)
except ZeroTrustError as error:
    print(error.code, error.exit_status, error)
"""


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (f"{ROLE!r}", SIX),
        ("role='developer'", SIX),
        (
            f"{ROLE.lower()!r}",
            r"access_denied 4 the broker denies this \(none of your roles leads to .*zerotrust roles",
        ),
        (f"{ROLE[:-9] + 'Twin'!r}", r"usage 2 wrong usage \(several roles lead to .*: role=one or role=two\)"),
        ("", r"usage 2 wrong usage \(name a role by its ARN or by its name\)"),
        ("role='nobody'", "access_denied 4 the broker denies this .*request"),
        ("role='developer', scope='none'", "access_denied 4 "),
        ("role='no such name'", "usage 2 wrong usage "),
    ],
)
def test_a_role_is_named_by_its_arn_or_its_name_and_what_fails_is_one_line_with_its_fix(
    broker: BrokerProcess, alice: dict[str, str], what: str, said: str
) -> None:
    done = program(TRY.format(how="", what=what), alice, broker.url)
    assert re.match(said, done.stdout), done.stdout + done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("how", "url", "said"),
    [
        (
            "",
            None,
            r"configuration 2 wrong settings \(no broker_url is set\) \[configuration\] — run: export ZEROTRUST_BROKER",
        ),
        ("broker_url='http://localhost:1'", None, "broker_unreachable 5 "),
        ("timeout=11", "", "configuration 2 wrong settings .*timeout"),
    ],
)
def test_a_broker_that_cannot_be_found_is_said_like_the_command_says_it(
    broker: BrokerProcess, alice: dict[str, str], how: str, url: str | None, said: str
) -> None:
    done = program(TRY.format(how=how, what="role='developer'"), alice, broker.url if url is not None else None)
    assert re.match(said, done.stdout), done.stdout + done.stderr


def test_without_a_ticket_it_says_so(broker: BrokerProcess, realm: Realm, tmp_path: Path) -> None:
    nobody = {**realm.env, "KRB5CCNAME": f"FILE:{tmp_path}/none"}
    assert program(TRY.format(how="", what="role='developer'"), nobody, broker.url).stdout.startswith("no_ticket 3 ")


MEMORY = """
import os, sys
from zerotrust_kerberos import SecretManager
with SecretManager().get_aws_credentials(role="developer") as creds:
    sys.stdout.write(creds.access_key_id + "\\n"); sys.stdout.flush()
    sys.stdin.readline()
    used = (creds.secret_access_key, creds.session_token)
    # Not by print: its buffer would keep them.
    os.write(1, (repr(used) + "\\n").encode())
    sys.stdin.readline()
    del used
print("done", flush=True)
sys.stdin.readline()
"""
FREED = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.perturb=90:glibc.malloc.tcache_count=0"}


def found_in_memory(broker: BrokerProcess, alice: dict[str, str], **environ: str) -> list[int]:
    """How often pieces of the credentials lie in memory: before they are read, while a copy is in use, and behind the block."""
    launch = command(MEMORY, alice, broker.url, **environ)
    with subprocess.Popen(**launch, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        held = child.stdout.readline()
        # The values are not known before the program tells them: its memory is read later, and compared with what it was.
        assert held.startswith("ASIA")
        before = memory_of.copy(child.pid)
        child.stdin.write("\n")
        used = child.stdout.readline()
        secret, token = json.loads(used.strip().replace("(", "[").replace(")", "]").replace("'", '"'))
        pieces = [secret[16:40].encode(), *(token[at : at + 48].encode() for at in range(64, len(token) - 48, 256))]
        during = memory_of.count(child.pid, *pieces)
        child.stdin.write("\n")
        assert child.stdout.readline() == "done\n"
        behind = memory_of.count(child.pid, *pieces)
        child.stdin.write("\n")
    return [sum(before.count(piece) for piece in pieces), during, behind]


def test_behind_the_block_nothing_of_the_credentials_is_left_where_freed_memory_is_overwritten(
    broker: BrokerProcess, alice: dict[str, str]
) -> None:
    idle, used, behind = found_in_memory(broker, alice, **FREED)
    assert used >= 2, "the search finds what is there"
    assert (idle, behind) == (0, 0)
