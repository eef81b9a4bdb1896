"""The block of profiles: nothing else of the file changes, twice is once, and taking it out leaves what was there."""

from __future__ import annotations

import configparser
import io
import re
from pathlib import Path

import pytest
from botocore import configloader
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.profiles import block
from zerotrust_kerberos.profiles.names import Role, named, roles_of
from zerotrust_kerberos.profiles.plan import refuse_shadows, rewritten
from zerotrust_kerberos.profiles.text import check, lines_of, sections

PATH = "/home/alice/.aws/config"


def role(name: str, *, account: str = "111122223333", alias: str = "", aws_role: str = "Developer") -> Role:
    return Role(name=name, account=account, alias=alias or account, arn=f"arn:aws:iam::{account}:role/team/{aws_role}")


DEVELOPER, AUDITOR = role("developer", alias="Prod (EU)"), role("auditor", account="444455556666", aws_role="Audit")


def command(name: str) -> str:
    return f"/opt/zt/bin/zerotrust credential-process --role {name}"


def write(text: str, *roles: Role, prune: bool = False, **wanted: str) -> str:
    return rewritten(text, path=PATH, roles=roles, wanted=wanted, command=command, prune=prune)


def profiles(text: str, folder: Path) -> dict[str, dict[str, str]]:
    """As botocore, and so the AWS CLI, reads them."""
    file = folder / "config"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    found: dict[str, dict[str, str]] = configloader.load_config(str(file))["profiles"]
    return found


# ---- files as they are found, and worse ----

_FEW = settings(max_examples=50)  # each reads and writes several files

_eols = st.sampled_from(["\n", "\r\n"])
_words = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)
_lines = st.one_of(
    st.sampled_from(
        [
            "[default]",
            "[profile a]",
            '[profile "b c"]',
            "[sso-session s]",
            "  [profile indented]",
            "region = eu-west-1",
            "s3 =",
            "    max_concurrent_requests = 20",
            "# a comment",
            "; another",
            "",
            "\tregion : x",
            "# >>> something else >>>",
        ]
    ),
    _words,
)


@st.composite
def files(draw: st.DrawFn) -> str:
    """A file that the AWS tools can read, with or without a line feed at its end."""
    eol = draw(_eols)
    first = draw(st.sampled_from(["", "# mine", "[default]", "[profile first]"]))
    text = eol.join([first, *draw(st.lists(_lines, max_size=12))])
    text += eol if draw(st.booleans()) else ""
    try:
        check(text, PATH)
    except Failure:
        assume(False)
    assume(not {one.profile for one in sections(lines_of(text))} & {"developer", "auditor", "zt-developer"})
    return text


@_FEW
@given(files())
def test_nothing_outside_of_the_block_changes(text: str) -> None:
    made = write(text, DEVELOPER, AUDITOR)
    begin, end = made.index(block.BEGIN), made.index(block.END)
    lead = made[:begin]
    assert lead in {text, f"{text}\n", f"{text}\r\n"}
    assert (lead == text) == (not text or text[-1] in "\r\n")
    assert made[end + len(block.END) :].strip() == ""


@_FEW
@given(files())
def test_a_second_run_changes_nothing(text: str) -> None:
    once = write(text, DEVELOPER, AUDITOR, region="eu-central-1")
    assert write(once, DEVELOPER, AUDITOR) == once
    assert write(once, AUDITOR, DEVELOPER, region="eu-central-1", prune=True) == once


@_FEW
@given(files())
def test_pruning_all_leaves_the_bytes_that_were_there(text: str) -> None:
    made = write(write(text, DEVELOPER), DEVELOPER, AUDITOR, template="zt-{role}", output="json")
    assert write(made, prune=True) == text


_ADDED = ["", "\n", "# mine\n", "[profile z]\nregion = x\n", "\n[sso-session y]\n  a = b", "[profile z]\r\nregion = x"]


@_FEW
@given(files(), st.sampled_from(_ADDED))
def test_what_is_added_behind_the_block_stays_as_it_is(text: str, more: str) -> None:
    again = write(write(text, DEVELOPER) + more, DEVELOPER, AUDITOR)
    assert again.startswith(text)
    assert again.endswith((f"{block.END}\n{more}", f"{block.END}\r\n{more}"))
    # Two lines never become one.
    gap = "" if not text or text[-1] in "\r\n" or not more else "\r\n" if "\r\n" in text else "\n"
    assert write(again, prune=True) == f"{text}{gap}{more}"


@_FEW
@given(files())
@example("[default]\nregion = x\n  [profile continued]\n")
@example("  [profile deep]\n  region = x\n [profile less]\n")
@example("[default]\ns3 =\n\n  a = b\n# c\n   d\n")
def test_sections_are_found_where_configparser_finds_them(text: str) -> None:
    parser = configparser.RawConfigParser()
    parser.read_file(io.StringIO(text, newline=None))
    found = [one for one in sections(lines_of(text)) if one.header != "DEFAULT"]
    assert [one.header for one in found] == parser.sections()
    for one in found:
        assert set(one.values) >= set(parser[one.header]) - set(parser.defaults()), one.header


@_FEW
@given(files())
def test_botocore_sees_its_own_profiles_and_ours(text: str) -> None:
    def load(content: str) -> dict[str, dict[str, str]]:
        parser = configparser.RawConfigParser()
        parser.read_file(io.StringIO(content, newline=None))
        plain = {name: dict(parser.items(name)) for name in parser.sections()}
        return dict(configloader.build_profile_map(plain)["profiles"])

    before, after = load(text), load(write(text, DEVELOPER))
    ours = after.pop("developer")
    assert after == before
    assert ours["credential_process"] == command("developer")


# ---- what is written ----


def test_profiles_are_what_botocore_reads(tmp_path: Path) -> None:
    made = write("[default]\nregion = us-east-1\n", DEVELOPER, AUDITOR, region="eu-central-1", output="json")
    assert profiles(made, tmp_path) == {
        "default": {"region": "us-east-1"},
        "developer": {"credential_process": command("developer"), "region": "eu-central-1", "output": "json"},
        "auditor": {"credential_process": command("auditor"), "region": "eu-central-1", "output": "json"},
    }


def test_a_template_and_a_region_are_remembered() -> None:
    once = write("", DEVELOPER, template="{alias}-{role}", region="eu-central-1")
    twice = write(once, DEVELOPER, AUDITOR)
    assert "[profile Prod-EU--developer]" in twice
    assert "[profile 444455556666-auditor]" in twice
    assert twice.count("\nregion = eu-central-1\n") == 2


def test_a_new_template_renames_and_keeps_what_was_added_by_hand() -> None:
    once = write("", DEVELOPER).replace("--role developer\n", "--role developer\ncli_pager =\ns3 =\n  region = x\n")
    twice = write(once, DEVELOPER, template="{account}/{aws_role}", region="eu-west-1")
    assert "[profile developer]" not in twice
    assert re.search(
        r"\[profile 111122223333/Developer\]\n.*\nregion = eu-west-1\ncli_pager =\ns3 =\n  region = x\n", twice
    )


def test_a_region_changed_by_hand_stays_until_one_is_asked_for() -> None:
    once = write("", DEVELOPER, region="eu-west-1").replace("\nregion = eu-west-1", "\nregion = us-east-2")
    assert "\nregion = us-east-2" in write(once, DEVELOPER, AUDITOR)
    assert "\nregion = us-east-2" not in write(once, DEVELOPER, region="eu-west-1")


def test_a_vanished_role_stays_until_it_is_pruned() -> None:
    both = write("", DEVELOPER, AUDITOR)
    assert "[profile auditor]" in write(both, DEVELOPER)
    assert "[profile auditor]" not in write(both, DEVELOPER, prune=True)
    assert "[profile developer]" in write(both, DEVELOPER, prune=True)


def test_one_role_can_be_the_default() -> None:
    assert "\n[default]\n" in write("", DEVELOPER, template="default")


def test_lines_end_as_the_file_ends_its_own() -> None:
    made = write("[default]\r\nregion = x\r\n", DEVELOPER)
    assert made.count("\n") == made.count("\r\n")


# ---- what is refused ----


def refusal(text: str, *roles: Role, **wanted: str) -> Failure:
    with pytest.raises(Failure) as caught:
        write(text, *roles, **wanted)
    return caught.value


@pytest.mark.parametrize("header", ["[profile developer]", '[profile "developer"]', "[profile   developer]"])
def test_a_profile_of_the_same_name_outside_is_named_with_its_line(header: str) -> None:
    found = refusal(f"[default]\nregion = x\n\n{header}\nregion = y\n", DEVELOPER)
    assert found.code == "configuration"
    assert found.detail == f"{PATH}:4: there is a profile developer outside of the block"
    assert found.fix == f'"${{EDITOR:-vi}}" +4 {PATH}'


def test_one_behind_the_block_is_named_with_its_line_too() -> None:
    made = write("[default]\n", DEVELOPER)
    line = made.count("\n") + 1
    found = refusal(f"{made}[profile auditor]\nregion = y\n", DEVELOPER, AUDITOR)
    assert f"{PATH}:{line}: " in found.detail


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{block.BEGIN}\n[profile a]\n", 1),
        (f"{block.END}\n", 1),
        (f"{block.END}\n{block.BEGIN}\n", 2),
        (f"{block.BEGIN}\n{block.END}\n{block.BEGIN}\n{block.END}\n", 4),
    ],
)
def test_a_damaged_block_is_not_guessed_at(text: str, line: int) -> None:
    assert f"{PATH}:{line}: the block of zerotrust is damaged" in refusal(text, DEVELOPER).detail


@pytest.mark.parametrize("loose", ["region = y\n", "  [profile x]\n"])
def test_keys_behind_the_block_are_nobody_s(loose: str) -> None:
    made = write("", DEVELOPER)
    assert f"{PATH}:{made.count(chr(10)) + 2}: " in refusal(f"{made}# mine\n{loose}", DEVELOPER).detail


@pytest.mark.parametrize(
    ("text", "line"),
    [("region = x\n", 1), ("[a]\n[a]\n", 2), ("[a]\nb = 1\nb = 2\n", 3), ("[a]\nnonsense\n", 2)],
)
def test_a_file_that_no_aws_tool_reads_is_left_alone(text: str, line: int) -> None:
    assert f"{PATH}:{line}: " in refusal(text, DEVELOPER).detail


@pytest.mark.parametrize(
    "template", ["{nothing}", "{role", "{role!r}", "{role:>9}", "{}", "", "a b", "-{role}", "{role}]"]
)
def test_a_template_that_makes_no_name_is_wrong_usage(template: str) -> None:
    assert refusal("", DEVELOPER, template=template).code == "usage"


def test_two_roles_of_one_name_are_both_named() -> None:
    found = refusal("", DEVELOPER, role("operator"), template="{account}")
    assert "developer and operator" in found.detail


def test_keys_of_the_same_name_in_the_credentials_file_are_named() -> None:
    text = "[other]\naws_access_key_id = A\n[developer]\naws_access_key_id = B\naws_secret_access_key = C\n"
    with pytest.raises(Failure) as caught:
        refuse_shadows(text, path="/my $(c)", names=["developer"])
    assert caught.value.detail.startswith("/my $(c):3: ")
    assert caught.value.fix == "sed -i --follow-symlinks 3,5d '/my $(c)'"
    refuse_shadows(text, path="/c", names=["else"])


@pytest.mark.parametrize(
    "bad",
    [
        {"name": "a]\n[default]\ncredential_process = x"},
        {"name": "a b"},
        {"account": "12"},
        {"role_arn": "arn:aws:iam::111122223333:role/a\nb"},
        {"role_arn": None},
    ],
)
def test_what_a_broker_says_becomes_no_line_of_its_own(bad: dict[str, object]) -> None:
    good = {"name": "a", "account": "111122223333", "role_arn": "arn:aws:iam::111122223333:role/A"}
    assert roles_of({"roles": [good]}) == [Role("a", "111122223333", "111122223333", good["role_arn"])]
    with pytest.raises(Failure) as caught:
        roles_of({"roles": [good | bad]})
    assert caught.value.code == "unexpected_answer"


@given(_words)
def test_an_alias_never_leaves_its_place_in_a_name(alias: str) -> None:
    (name,) = named("a{alias}b", [role("developer", alias=alias)])
    assert re.fullmatch(r"[A-Za-z0-9_.@+,-]+", name)
