"""Rules of the house that no import contract can say, read from the syntax trees of the code."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import wire
from broker.core import errors
from broker.web import problems

REPOSITORY = Path(__file__).parents[2]
BROKER = REPOSITORY / "broker"
MODULES = sorted(BROKER.rglob("*.py"))

# Lines. A module that passes this wants to be two; the way of a request is promised to be one page.
MODULE_MAX = 400
PAGE_MAX = 220

# Time and chance are passed in, and a task has an owner, or no test can hold them.
_FORBIDDEN = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "date.today",
    "time.time",
    "time.time_ns",
    "time.clock_gettime",
    "asyncio.create_task",
    "loop.create_task",
}
_THE_CLOCK = BROKER / "core" / "clock.py"


# Whoever an operator's question is about is nobody who was authenticated.
SUPPOSING = {"authz/everybody.py", "authz/supposed.py"}


def name_of(module: Path) -> str:
    return str(module.relative_to(BROKER))


def tree_of(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(tree: ast.AST) -> Iterator[str]:
    """The dotted names of everything that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield dotted(node.func)


def makers_of(noun: str) -> set[str]:
    """The modules that call a class of this name, its constructors or ``replace()`` included, or name it under another name."""
    found = set()
    for module in MODULES:
        tree = tree_of(module)
        called = {name for name in calls(tree) if noun in name.split(".")}
        renamed = any(
            alias.name == noun and alias.asname not in (None, noun)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        )
        own = "cls" if any(isinstance(node, ast.ClassDef) and node.name == noun for node in ast.walk(tree)) else None
        if called or renamed or (own and own in set(calls(tree))):
            found.add(name_of(module))
    return found


def test_only_the_decision_makes_a_grant() -> None:
    assert makers_of("Grant") == {"authz/policy.py"}


def test_only_the_rules_about_secrets_make_a_permit() -> None:
    assert makers_of("Permit") == {"authz/secrets.py"}


def test_only_authentication_makes_a_principal_but_for_the_pattern_of_a_rule() -> None:
    # A session or job pass opens to the principal that was sealed into it.
    of_authentication = {"authn/identity.py", "authn/sealed.py"}
    assert makers_of("Principal") == of_authentication | {"core/pattern.py", "core/principal.py"} | SUPPOSING


def test_only_a_ticket_or_what_was_sealed_for_one_says_who_somebody_is() -> None:
    assert makers_of("Identity") == {"authn/acceptor.py", "authn/sealed.py", "authz/supposed.py"}


def test_only_sealed_rows_make_a_time_box_but_for_a_question_that_supposes_one() -> None:
    assert makers_of("Box") == {"authz/elevation.py", "authz/supposed.py"}


def test_whom_an_operator_supposes_is_unknown_to_the_rooms_that_answer_requests() -> None:
    supposing = {f"broker.{name.removesuffix('.py').replace('/', '.')}" for name in SUPPOSING}
    meeting = {"issuing/questions.py", "authz/everybody.py", "authz/difference.py", "authz/lint.py"}
    for module in MODULES:
        imported = {
            name
            for node in ast.walk(tree_of(module))
            if isinstance(node, ast.ImportFrom) and node.module
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        }
        if imported & (supposing | {"broker.issuing.questions", "broker.authz.difference", "broker.authz.lint"}):
            assert name_of(module) in meeting | {"admin/policy.py"}


def changed_in_copies(tree: ast.AST) -> set[str]:
    """The members that a module's calls of ``dataclasses.replace()`` change; "?" for what cannot be told."""
    changed = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and dotted(node.func) in {"replace", "dataclasses.replace"}:
            changed |= {keyword.arg or "?" for keyword in node.keywords}
        if isinstance(node, ast.Call) and dotted(node.func) == "object.__setattr__":
            changed.add("?")
        if isinstance(node, ast.Import | ast.ImportFrom):
            # Under another name it would go unseen.
            changed |= {"?" for alias in node.names if alias.asname and alias.name in {"dataclasses", "replace"}}
    return changed


def test_nobody_copies_a_grant_or_a_principal_with_something_changed() -> None:
    copying = {name_of(module): changed_in_copies(tree_of(module)) for module in MODULES}
    # A directory sets an identity's groups, a job pass its end and what does not hold of a job; a pass is completed with the
    # identity that its owner has today. Nobody's name is touched, and no grant.
    assert {name: changed for name, changed in copying.items() if changed} == {
        "authn/directory.py": {"groups", "groups_unknown"},
        "authn/job_pass.py": {
            "birth",
            "channel_bound",
            "delegated_at",
            "identity",
            "lineage",
            "made",
            "mutual_token",
            "networks",
            "renewable_until",
            "ticket_end",
        },
        "authz/everybody.py": {"address", "age", "bound", "evidence", "indicators", "job"},  # of somebody supposed
        "config/view.py": {"long_term_keys"},
        "issuing/ask.py": {"identity"},
        "issuing/revoke.py": {"aws", "runs_on", "state", "until", "why"},  # of receipts and lines of a list
        # Of a secret's metadata and its versions.
        "secrets/changes.py": {
            "annotated",
            "archived",
            "born",
            "deleted",
            "destroyed",
            "details",
            "newest",
            "revision",
            "rotated",
            "versions",
        },
        "secrets/vault.py": {"used"},
        # A call as it is asked for now, with less time, and without the tags that AWS has no room for.
        "sts/chain.py": {"lifetime", "tags"},
        # The request in the place that a tag's text keeps for it.
        "core/tags.py": {"value"},
        # What of somebody's tags AWS had no room for, and for which request they were made, noted on the credentials.
        "sts/client.py": {"minted_by", "shed"},
        # The probe asks for a role without its external ID, and with a wrong one.
        "trust/probe.py": {"external_id"},
    }


@pytest.mark.parametrize(
    "code",
    [
        "dataclasses.replace(grant, lifetime=day)",
        "replace(identity, principal=admin)",
        "replace(identity, **changes)",
        "from dataclasses import replace as other",
        "import dataclasses as d",
        "object.__setattr__(principal, 'realm', 'R')",
    ],
)
def test_a_copy_with_something_changed_is_seen_however_it_is_written(code: str) -> None:
    assert changed_in_copies(ast.parse(code)) - {"groups", "groups_unknown"}


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_time_and_chance_are_passed_in_and_tasks_have_an_owner(module: Path) -> None:
    tree = tree_of(module)
    if module != _THE_CLOCK:
        assert not _FORBIDDEN & set(calls(tree))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "random" not in imported


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_fits_in_one_head(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= MODULE_MAX


def test_the_way_of_a_request_fits_on_its_page() -> None:
    assert len((BROKER / "issuing" / "issue.py").read_text(encoding="utf-8").splitlines()) <= PAGE_MAX


def error_classes(root: type[errors.BrokerError] = errors.BrokerError) -> Iterator[type[errors.BrokerError]]:
    for child in root.__subclasses__():
        yield child
        yield from error_classes(child)


def test_every_error_has_its_answer_and_every_answer_its_error() -> None:
    coded = {child for child in error_classes() if hasattr(child, "code")}
    assert set(problems.TABLE) == coded


def test_an_error_without_a_code_is_a_branch_and_never_raised() -> None:
    branches = {child.__name__ for child in error_classes() if not hasattr(child, "code")} | {"BrokerError"}
    raised = {
        dotted(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)
        for module in MODULES
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Raise) and node.exc is not None
    }
    assert not {name for name in raised if name.split(".")[-1] in branches}


def test_every_code_is_one_the_client_knows_and_belongs_to_one_error() -> None:
    # A special case of an error may keep its code: to the client it is the same.
    codes = [
        child.code
        for child in problems.TABLE
        if child.code not in {base.__dict__.get("code") for base in child.__mro__[1:]}
    ]
    assert len(codes) == len(set(codes))
    assert {child.code for child in problems.TABLE} <= set(wire.PROBLEM_CODES)


def test_every_answer_is_an_error_status_with_a_word_for_the_caller() -> None:
    for answer in problems.TABLE.values():
        assert 400 <= answer.status <= 599
        assert answer.title
        assert answer.hint


@pytest.mark.parametrize(
    "error", sorted(problems.TABLE, key=lambda error: error.code), ids=lambda error: error.__name__
)
def test_the_body_of_an_error_tells_no_reason(error: type[errors.BrokerError]) -> None:
    canary = "canary-reason"
    needed = {
        name: 7
        for name, parameter in inspect.signature(error).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    }
    raised = error(canary, **needed)
    raised.reason = canary
    body = problems.body(raised, request_id="0123")
    assert canary.encode() not in body
    assert error.code.encode() in body


def test_no_program_that_a_test_starts_has_a_home_that_root_would_make() -> None:
    """What one program leaves in /nonexistent is there for everybody's tests from then on."""
    tests = sorted((REPOSITORY / "tests").rglob("*.py"))
    home = re.compile(r"""["']HOME["']: ["']/nonexistent""")
    assert [str(test) for test in tests if home.search(test.read_text(encoding="utf-8"))] == []
