"""What packages do as root at hosts: nothing in folders that the broker's account writes to, where a link may lead anywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[2] / "release" / "scripts").glob("*.sh"))
# LogsDirectory=, StateDirectory= and RuntimeDirectory= of the units.
_WRITTEN_BY_THE_BROKER = re.compile(r"/(var/lib|var/log|run)/zerotrust")
# They take away a name and nothing behind it, or write to nobody's file.
_HARMLESS = re.compile(r"\s*(#.*|rm -f /var/lib/zerotrust/\*\.rcache2|for folder in [a-z/ \\]+(; do)?|/[a-z/ ]+; do)$")
# What follows a link to somebody else's file, or does so between a look and a deed.
_FOLLOWS_LINKS = re.compile(
    r"\b(chown|chmod|chgrp|setfacl|install|cp|mv|tee|touch|ln|tar|rsync|rm -[a-z]*r)\b|>\s*/(?!dev/null)"
)


def lines(script: Path) -> list[str]:
    return script.read_text().splitlines()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_scripts_of_packages_do_nothing_where_the_broker_s_account_may_lay_a_link(script: Path) -> None:
    there = [line for line in lines(script) if _WRITTEN_BY_THE_BROKER.search(line)]
    assert [line for line in there if not _HARMLESS.fullmatch(line)] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_scripts_of_packages_change_owner_or_mode_of_nothing_but_the_sample_as_it_came(script: Path) -> None:
    found = [
        line for line in lines(script) if _FOLLOWS_LINKS.search(line) and not line.lstrip().startswith(("#", "echo"))
    ]
    sample = "find /etc/zerotrust/config.yaml -user root -group root -perm 0600 "
    ours = "find /usr/lib/zerotrust -name __pycache__ -prune "
    assert [line for line in found if not line.startswith((sample, ours))] == []


def test_there_are_scripts_to_look_at() -> None:
    assert len(SCRIPTS) == 6
