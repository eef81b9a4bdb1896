"""What the pages say is true: their files exist, their commands exist, and the README's configuration would be accepted."""

from __future__ import annotations

import base64
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from broker.config.load import load

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    "README.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "krb5/README.md",
    "keytabs/README.md",
    "systemd/README.md",
]
PAGES += sorted(
    str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md") if page.name != "configuration.md"
)
LINES_MAX = 200  # more is read by nobody

PROGRAMS = {"zerotrust", "zerotrust-admin", "zerotrust-broker"}
# Other people's programs, which the reader has or gets by `make setup` and requirements/system-demo.txt.
FOREIGN = {"aws", "curl", "kinit", "klist", "chmod", "eval", "export", "grep", "openssl"}

_FENCED = r"^```{language}\n(.*?)^```$"
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
_CODE_PATH = re.compile(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+\.py|[a-z_0-9/]+/)`")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(_FENCED.format(language=language), text, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """Every command of every page's console blocks, as words."""
    text = "\n".join(block for page in PAGES for block in blocks("console", (ROOT / page).read_text(encoding="utf-8")))
    return [
        shlex.split(re.sub(r"^[A-Z_]+=('[^']*'|\S+) ", "", line[2:]))
        for line in text.splitlines()
        if line.startswith("$ ")
    ]


def ours() -> list[tuple[str, ...]]:
    """Those of our own programs, each once, up to what is another program's."""
    found = (words for words in commands() if words[0] in PROGRAMS)
    return list(dict.fromkeys(tuple(words[: words.index("--")] if "--" in words else words) for words in found))


@cache
def help_of(program: str, *words: str) -> str:
    command = [str(Path(sys.executable).parent / program), *words, "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= LINES_MAX


def test_every_page_names_no_machine() -> None:
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        assert not re.search(r"(?<![\w.])/(?:(?:root|work|tmp)/|home/(?!alice/))", text), page


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_or_a_heading_that_exists(page: str) -> None:
    folder = (ROOT / page).parent
    found = _LINK.findall((ROOT / page).read_text(encoding="utf-8"))
    for target, anchor in found:
        if target.startswith("https://"):
            continue
        file = folder / target if target else ROOT / page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{target}#{anchor}"


def test_every_command_of_the_pages_exists() -> None:
    found = commands()
    assert len(found) >= 10, "otherwise the pages are not read rightly"
    unknown = {words[0] for words in found} - PROGRAMS - FOREIGN - {"make"}
    assert not unknown, f"commands that nobody has: {unknown}"


def test_every_make_target_of_the_pages_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pages = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    targets = {words[1] for words in commands() if words[0] == "make"} | set(re.findall(r"`make ([a-z-]+)`", pages))
    assert targets
    assert {target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()


@pytest.mark.parametrize("words", ours(), ids=" ".join)
def test_every_command_of_ours_takes_the_words_that_the_pages_give_it(words: tuple[str, ...]) -> None:
    program, *rest = words
    said, parents = help_of(program), []
    while rest and not rest[0].startswith("-") and re.search(rf"^  {re.escape(rest[0])}\b", said, re.MULTILINE):
        parents.append(rest.pop(0))
        said = help_of(program, *parents)
    assert parents, f"{program} --help does not name {rest[0]}"
    for option in (word for word in rest if word.startswith("-")):
        assert option in said, f"{' '.join(parents)} does not take {option}"


def test_the_table_of_programs_names_sub_commands_that_exist() -> None:
    for program in PROGRAMS:
        for named in re.findall(r"`([a-z -]+)`", rows_of(program)):
            first, *rest = named.split()
            assert re.search(rf"^  {first}\b", help_of(program), re.MULTILINE), f"{program} {first}"
            if rest:
                assert re.search(rf"^  {rest[0]}\b", help_of(program, first), re.MULTILINE), f"{program} {named}"


def rows_of(program: str) -> str:
    """What the table says that a program does: its row, and those below it whose first cell is empty."""
    [rows] = re.findall(rf"^(\| `{program}` \|.*\n(?:\| \|.*\n)*)", README, re.MULTILINE)
    return "\n".join(row.split("|", 3)[3] for row in rows.splitlines())


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_the_table_of_programs_leaves_no_sub_command_out(program: str) -> None:
    rows = rows_of(program)
    said = help_of(program)
    shown = set(re.findall(r"^  ([a-z][a-z-]+)\b", said, re.MULTILINE)) - {"help"}
    assert shown
    assert {name for name in shown if not re.search(rf"`{name}[ `]", rows)} == set()


def test_every_page_is_in_the_index() -> None:
    named = {target for target, _ in _LINK.findall((ROOT / "docs" / "index.md").read_text(encoding="utf-8"))}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"} <= named


def test_the_storeys_of_the_way_are_those_that_imports_are_held_to() -> None:
    way = (ROOT / "docs" / "the-way.md").read_text(encoding="utf-8")
    [line] = re.findall(r"^    (__main__ > .*)$", way, re.MULTILINE)
    [contract] = [
        one
        for one in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        if one["type"] == "layers" and one.get("containers") == ["broker"]
    ]
    assert line.split(" > ") == contract["layers"]


def test_the_configuration_of_the_readme_is_accepted(tmp_path: Path) -> None:
    [example] = blocks("yaml")
    text = example.replace("/etc/zerotrust", str(tmp_path)).replace("/var/log/zerotrust", str(tmp_path))
    for name in set(re.findall(rf"{re.escape(str(tmp_path))}/\S+?(?=[\s\],}}]|$)", text)):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name in {"keytabs", "audit"}:
            path.mkdir(mode=0o700)
            (path / "http.keytab").touch(mode=0o600)
            continue
        path.touch(mode=0o600)
        path.write_bytes(base64.b64encode(bytes(32)) + b"\n")
    config = tmp_path / "config.yaml"
    config.touch(mode=0o600)
    config.write_text(text)
    settings = load(config, environ={})
    assert list(settings.roles) == ["developer"]
    assert [rule.name for rule in settings.rules] == ["engineers"]


def named_by_the_way() -> set[Path]:
    """In a table row a bare name stands for a file beside the one named before it."""
    found = set()
    for line in (ROOT / "docs" / "the-way.md").read_text(encoding="utf-8").splitlines():
        folder = Path()
        for name in _CODE_PATH.findall(line):
            path = Path(name) if "/" in name and (ROOT / name).exists() else folder / name
            found.add(path)
            folder = path.parent
    return found


def test_every_file_that_the_way_names_exists() -> None:
    found = named_by_the_way()
    assert len(found) > 30
    assert [path for path in found if not (ROOT / path).exists()] == []


def test_the_way_names_every_file_of_the_users_side() -> None:
    """A room that is named whole, with a slash behind it, stands for its files."""
    named = named_by_the_way()
    files = {path.relative_to(ROOT) for path in (ROOT / "zerotrust_kerberos").rglob("*.py")}
    left_out = {path for path in files if path not in named and path.parent not in named}
    assert {path for path in left_out if path.name != "__init__.py"} == set()
