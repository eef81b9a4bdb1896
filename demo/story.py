"""What the demo shows, step by step. Every command runs as it is printed; every step checks what it claims.

A step whose expectation is not met raises `BrokenError` with the command and all that it said.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from demo.stack import PASSWORDS, ROOT, Stack, typed
from tests.fakes.sts import demo as world

COMMAND_SECONDS = 60.0  # No command of the story takes two seconds; a loaded machine may need many more.
HOPS = 2  # of the role chain in config.yaml.template
SHORTEST, LONGEST = timedelta(minutes=15), timedelta(hours=1)

ALICE = "alice@EXAMPLE.COM"
MALLORY = "mallory@EXAMPLE.COM"
ALICE_IN_AWS = f"arn:aws:sts::111122223333:assumed-role/{world.DEVELOPER_ROLE.rpartition('/')[2]}/{ALICE}"
IDENTITY = "aws sts get-caller-identity --profile developer"
EXEC_IDENTITY = "aws sts get-caller-identity --query Arn --output text"
REFUSAL = re.compile(r"\[access_denied\] — run: zerotrust \S")
EXIT_DENIED = 4

_SECRET_MEMBERS = re.compile(r'("(?:SecretAccessKey|SessionToken|Token)": *")[^"]+')
_SIGN_IN = re.compile(r"(\bSigninToken=)[^&\s]+")
_SUMMARY = (
    "import json, sys; [print(r['seq'], r['event'], r.get('user') or '-', r.get('origin') or r.get('reason') or '')"
    " for r in map(json.loads, sys.stdin)]"
)


class BrokenError(Exception):
    """A step did not do what it claims."""


class Story:
    """The steps, over a running stack.

    Attributes:
        took: Every step and its seconds, in order.
    """

    def __init__(self, stack: Stack) -> None:
        self.took: dict[str, float] = {}
        self._stack = stack
        self._exported: dict[str, str] = {}
        self._credentials: dict[str, str] = {}

    def tell(self) -> None:
        """All steps.

        Raises:
            BrokenError: One of them did not show what it should.
        """
        steps = (
            ("alice gets her Kerberos ticket", self._alice_logs_in),
            ("a profile for each of her roles, and the AWS CLI works with the ticket alone", self._aws_cli),
            ("once more: from the cache, without AWS", self._cached),
            ("a program as the role, and the console in a browser", self._program_and_console),
            ("without anything of ours installed: curl", self._curl),
            ("what Redis has of it: nothing readable", self._redis),
            ("mallory has a ticket too, and no rule", self._mallory),
            ("the record of all that", self._audit),
            ("the broker ends when told to", self._stop),
        )
        for number, (title, step) in enumerate(steps, start=1):
            print(f"\n== {number}. {title} ==\n")
            with self._timed(f"{number}. {title}"):
                step()

    # ---- the steps ----

    def _alice_logs_in(self) -> None:
        self._become("alice")
        said = self._run("klist")
        _expect("krbtgt/EXAMPLE.COM@EXAMPLE.COM" in said and f"Default principal: {ALICE}" in said, "no ticket", said)

    def _aws_cli(self) -> None:
        said = self._run("zerotrust roles")
        _expect(said.startswith("developer\t111122223333\tpayments-prod\t"), "not the role she has", said)
        said = self._run("zerotrust configure --write --region eu-central-1")
        _expect(said.endswith(": added developer\n"), "no profile", said)
        self._run("cat $AWS_CONFIG_FILE")
        self._identify()
        self._remark(f"{self._stack.assume_role_calls()} AssumeRole calls so far, one a hop of the role chain")
        _expect(
            self._stack.assume_role_calls() == HOPS, f"expected {HOPS} AssumeRole calls", str(self._stack.sts.calls())
        )

    def _cached(self) -> None:
        before = self._stack.assume_role_calls()
        self._identify()
        after = self._stack.assume_role_calls()
        self._remark(f"AssumeRole calls before: {before}, after: {after}")
        _expect(before == after, "the second time asked STS again", str(self._stack.sts.calls()))
        said = self._run(f"curl -s {self._stack.url}/metrics | grep ^broker_cache_requests_total")
        _expect('{result="hit"} 1.0' in said and '{result="miss"} 1.0' in said, "not one miss and one hit", said)

    def _program_and_console(self) -> None:
        said = self._run(f"zerotrust exec developer -- {EXEC_IDENTITY}")
        _expect(said.strip() == ALICE_IN_AWS, f"not {ALICE_IN_AWS}", said)
        said = self._run(
            "zerotrust console developer --service s3 --print", show=lambda text: _SIGN_IN.sub(r"\1(masked)", text)
        )
        self._remark("without --print it opens in the browser; the token of the URL is masked in this print-out only")
        _expect(_SIGN_IN.search(said) is not None and "console.aws.amazon.com" in said, "no URL of the console", said)

    def _curl(self) -> None:
        said = self._run(
            "curl -s --negotiate -u : -H 'X-Zerotrust-Request: 1' -d '{\"role\":\"developer\"}' "
            f"{self._stack.url}/v1/credentials",
            show=lambda text: _SECRET_MEMBERS.sub(r"\1(masked)", text),
        )
        self._remark("the three secret members are masked in this print-out only")
        self._credentials = found = json.loads(said)
        left = datetime.fromisoformat(found["Expiration"]) - datetime.now(UTC)
        _expect(found["RoleArn"] == world.DEVELOPER_ROLE, "not the last role of the chain", said)
        _expect(found["Token"] == found["SessionToken"] and len(found["Token"]) > 0, "no session token", "")
        _expect(SHORTEST < left <= LONGEST, f"{left} left", found["Expiration"])

    def _redis(self) -> None:
        port = self._stack.redis.port
        self._export("REDISCLI_AUTH", f"$(cat {typed(self._stack.folder / 'secrets' / 'redis_password')})")
        # Beside the credentials Redis remembers the digests of spent tickets, which are no text.
        names = self._run(f"redis-cli -p {port} keys 'zerotrust:{{cache}}:credentials:*'").split()
        _expect(len(names) == 1, "expected one entry", str(names))
        entry = f"redis-cli -p {port} get {names[0]}"
        self._run(f"{entry} | wc --bytes")
        key_id = self._credentials["AccessKeyId"]
        found = self._run(f"{entry} | grep --count --text --ignore-case -e {key_id} -e alice -e Developer", code=1)
        _expect(found.strip() == "0", "Redis holds plaintext", found)
        raw = names[0] + self._stack.redis.cli("GET", names[0])
        readable = [name for name, value in self._credentials.items() if len(str(value)) > 1 and str(value) in raw]
        _expect(len(raw) > len(self._credentials["SessionToken"]), "the entry cannot hold the credentials", "")
        _expect(not readable, "Redis holds plaintext of", ", ".join(readable))

    def _mallory(self) -> None:
        before = self._stack.assume_role_calls()
        self._become("mallory")
        said = self._run(IDENTITY, code=None)
        _expect(REFUSAL.search(said) is not None and "Arn" not in said, "the AWS CLI does not show the refusal", said)
        said = self._run("zerotrust credential-process --role developer", code=EXIT_DENIED)
        self._remark(f"exit code {EXIT_DENIED}: denied")
        _expect(REFUSAL.search(said) is not None and "AccessKeyId" not in said, "not refused", said)
        _expect(self._stack.assume_role_calls() == before, "STS was asked for mallory", str(self._stack.sts.calls()))

    def _audit(self) -> None:
        audit, keys = (typed(self._stack.folder / name) for name in ("audit", "jwks.json"))
        said = self._run(f'cat {audit}/audit-*.jsonl | python -c "{_SUMMARY}"')
        self._every_attempt_is_on_record(said)
        self._run(f"curl -s -o {keys} {self._stack.url}/.well-known/jwks.json")
        said = self._run(f"zerotrust-admin audit verify --jwks {keys} {audit}")
        _expect(said.startswith("good: "), "the records do not verify", said)
        self._remark("at three in the morning: who was this key?")
        key = next(record["access_key_id"] for record in self._stack.broker.records() if record["event"] == "issued")
        said = self._run(f"zerotrust-admin audit trace --jwks {keys} --from {audit} {key}")
        _expect(f"{key}: alice@EXAMPLE.COM as developer" in said, "the key's story does not name alice", said)
        self._remark("now somebody turns mallory into alice in a copy of the record")
        forged = typed(self._stack.folder / "forged")
        self._run(f"cp -r {audit} {forged} && sed -i s/mallory/alice/g {forged}/audit-*.jsonl")
        said = self._run(f"zerotrust-admin audit verify --jwks {keys} {forged}", code=1)
        _expect("BAD: " in said, "the forgery passes", said)

    def _stop(self) -> None:
        process = self._stack.broker.process
        _expect(process is not None and process.poll() is None, "the broker has ended by itself", "")
        code = self._stack.broker.stop()
        self._remark(f"SIGTERM: the broker drained and ended with exit code {code}")
        _expect(code == 0, f"exit code {code}", self._stack.broker.output.read_text())

    # ---- what steps share ----

    def _become(self, user: str) -> None:
        """A shell of the user's own: the variables, then the login."""
        for name, value in self._stack.exports(user).items():
            self._export(name, value)
        # A person is asked for the password; from a pipe it is read as well.
        self._run(f"echo {PASSWORDS[user]} | zerotrust login {user}")

    def _identify(self) -> None:
        said = self._run(IDENTITY)
        _expect(json.loads(said)["Arn"] == ALICE_IN_AWS, f"not {ALICE_IN_AWS}", said)

    def _every_attempt_is_on_record(self, said: str) -> None:
        lines = [line.split() for line in said.splitlines()]
        told = [line[1:] for line in lines]
        for wanted in (
            ["intent", ALICE],
            ["issued", ALICE, "sts"],
            ["issued", ALICE, "cache"],
            ["refused", MALLORY, "no_rule"],
        ):
            _expect(wanted in told, "no record", " ".join(wanted))
        handed_out = [r for r in self._stack.broker.records() if r["event"] == "issued"]
        _expect(
            {r["access_key_id"] for r in handed_out} == {self._credentials["AccessKeyId"]}
            and {r["user"] for r in handed_out} == {ALICE},
            "the records name other keys or users",
            str(handed_out),
        )

    def _export(self, name: str, value: str) -> None:
        if self._exported.get(name) != value:
            self._exported[name] = value
            print(f'$ export {name}="{value}"')

    def _run(self, command: str, *, code: int | None = 0, show: Callable[[str], str] = str) -> str:
        """Prints a command, runs it in a shell with the exports made so far, prints what it said, and returns that.

        Args:
            command: For bash.
            code: The exit code it has to have; None for any but 0.
            show: What to print of the output.
        """
        print(f"$ {command}")
        exports = "".join(f'export {name}="{value}"; ' for name, value in self._exported.items())
        done = subprocess.run(
            ["bash", "-c", f"{exports}{command}"],
            cwd=ROOT,
            env={
                **os.environ,
                "HOME": str(self._stack.folder),
            },  # ~/.aws, ~/.curlrc and the like of the caller stay out
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="surrogateescape",
            timeout=COMMAND_SECONDS,
            check=False,
        )
        print(show(done.stdout).strip("\n"), end="\n" if done.stdout.strip() else "")
        wanted = done.returncode != 0 if code is None else done.returncode == code
        _expect(
            wanted, f"exit code {done.returncode}, expected {'a failure' if code is None else code}", f"$ {command}"
        )
        return done.stdout

    def _remark(self, text: str) -> None:
        print(f"# {text}")

    @contextlib.contextmanager
    def _timed(self, title: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.took[title] = time.monotonic() - begun


def _expect(met: bool, fault: str, said: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not met:
        raise BrokenError(f"{fault}: {said}".rstrip(": \n"))
