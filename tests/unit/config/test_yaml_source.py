from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.config.tree import Tree
from broker.config.yaml_source import parse


def _parse(text: str, **environ: str) -> Tree:
    return parse(text, name="FILE", environ=environ)


def _problems(text: str) -> list[str]:
    return [str(problem) for problem in _parse(text).problems]


def test_each_value_knows_its_line():
    tree = _parse("a:\n  b: [x,\n    y]\n  c:\n    z\n")
    assert tree.data == {"a": {"b": ("x", "y"), "c": "z"}}
    places = {path: origin.place for path, origin in tree.origins.items()}
    assert places == {
        ("a",): "FILE:1",
        ("a", "b"): "FILE:2",
        ("a", "b", 0): "FILE:2",
        ("a", "b", 1): "FILE:3",
        ("a", "c"): "FILE:4",
    }
    assert tree.origin(("a", "b", 7, "unknown")).place == "FILE:2"


@pytest.mark.parametrize("text", ["yes", "off", "012:30", "1_000", "2024-01-31", "0b1", "nULL", "tRUE", "1e", "+", "."])
def test_text_that_yaml_1_1_would_have_changed_stays_text(text):
    assert _parse(f"a: {text}").data == {"a": text}


@pytest.mark.parametrize("number", ["0", "012", "-1", "0o7", "0xff", "1.5", "1e3", ".5", ".inf", ".nan", "9" * 5000])
def test_numbers_are_not_text_unless_quoted(number):
    assert not isinstance(_parse(f"a: {number}").data["a"], str)
    assert _parse(f"a: '{number}'").data == {"a": number}


def test_a_whole_value_is_replaced_from_the_environment_and_never_quoted_again():
    tree = _parse('a: ${X}\nb: "${X}"\nc: [plain]', X="012 canary")
    assert tree.data == {"a": "012 canary", "b": "012 canary", "c": ("plain",)}
    assert not tree.origin(("a",)).shown
    assert tree.origin(("c", 0)).shown


@pytest.mark.parametrize("text", ["$X", "${1}", "${}", "${a-b}", "$ {X}"])
def test_what_is_no_reference_stays_text(text):
    assert _parse(f"a: '{text}'", X="no").data == {"a": text}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: *canary", "is an alias"),
        ("*canary : a", "an alias (*name) stands where a key belongs"),
        ("a: &canary b", "has an anchor"),
        ("a: !canary b", "has a tag"),
        ("&canary a: b", "has an anchor"),
        ("!canary a: b", "has a tag"),
        ("!!str 1: b", "has a tag"),
        ("a: !canary!x b\n", "is not valid YAML: found undefined tag handle ..."),
        ("? [canary]\n: a", "a list or mapping stands where a key belongs"),
        ("a: b\n---\ncanary: b", "a second document begins here"),
        ("canary", "the document is no mapping"),
        ("[canary]", "the document is no mapping"),
        ("a: 'canary", "is not valid YAML"),
        ("a: canary: b", "is not valid YAML: mapping values are not allowed here"),
        ("a: canary\x01", "is not valid YAML: a control character"),
        ('a: "\\canary"', "is not valid YAML: found unknown escape character 'c'"),
    ],
)
def test_what_no_configuration_needs_is_refused_without_repeating_the_text(text, words):
    (problem,) = [line for line in _problems(text) if words in line]
    assert "canary" not in problem


def test_an_alias_bomb_is_refused_before_it_is_built():
    bomb = "a: &a [x]\n" + "".join(
        f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    tree = _parse(bomb)
    assert len(tree.problems) == 9 + 8 * 9
    assert tree.data["i"] == (None,) * 9


def test_a_hundred_thousand_brackets_are_refused_at_the_sixteenth():
    (problem,) = _problems("a: " + "[" * 100_000)
    assert "nested deeper than 16 levels" in problem


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\r", "\u202e", "\u2066"])
def test_what_nobody_sees_who_reviews_a_file_ends_no_comment(sign):
    """libyaml would begin a line where an editor, and whoever reviews the change, goes on in a comment."""
    tree = _parse(f"a: b\n# a comment{sign}c: d\n")
    assert "c" not in tree.data
    (problem,) = tree.problems
    assert (problem.place, f"U+{ord(sign):04X}" in problem.what) == ("FILE:2", True)


def test_a_byte_order_mark_and_windows_line_ends_are_read():
    assert _parse("\ufeffa: b\r\nc: d\r\n").data == {"a": "b", "c": "d"}


# Without controls, line separators and the byte order mark, which YAML treats in its own way, and what turns the direction of
# writing, which is refused.
_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cn", "Zl", "Zp"], exclude_characters="\ufeff$" + _TURNS), min_size=1
)
_VALUES = _TEXTS | st.lists(_TEXTS | st.dictionaries(_TEXTS, _TEXTS)) | st.dictionaries(_TEXTS, st.lists(_TEXTS))


@given(st.dictionaries(_TEXTS, _VALUES))
def test_what_json_quotes_is_read_back_exactly(data):
    # JSON is YAML's flow style with every text in quotes.
    assert _lists(_parse(json.dumps(data, ensure_ascii=False)).data) == data


def _lists(value):
    if isinstance(value, tuple):
        return [_lists(item) for item in value]
    return {key: _lists(item) for key, item in value.items()} if isinstance(value, dict) else value


@example("&0")  # An anchor on nothing, where nothing is open.
@given(st.text(st.sampled_from("ab:-[]{},&*!|>'\"%@`#?~ \n\t$0\\\x01\ud800"), max_size=60))
def test_any_text_at_all_gives_a_tree_or_problems_and_never_another_exception(text):
    tree = _parse(text)
    assert tree.problems or isinstance(tree.data, dict)


def test_a_tab_between_a_key_and_its_value_is_white_space():
    # YAML 1.2 section 6.2; before a key it is none (section 6.1), and refused.
    assert _parse("a:\tb\nc: d\t\n").data == {"a": "b", "c": "d"}
    assert _problems("a:\n\tb: c")


def test_in_a_text_too_long_to_be_read_twice_a_fault_still_has_its_line():
    (problem,) = _problems("a: b\n" * 1 + "# canary\n" * 60_000 + "c: 'd' e\n")
    assert problem.startswith("FILE:60002: is not valid YAML: ")
    assert "canary" not in problem
