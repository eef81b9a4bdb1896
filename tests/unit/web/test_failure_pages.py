"""The pages that problems point to: one for each code, and nothing of the visitor's in them."""

from __future__ import annotations

import json

import pytest
from aiohttp.test_utils import make_mocked_request

from broker import wire
from broker.core.errors import BrokerError, NotFound
from broker.web import problems
from broker.web.operators_notes import NOTES
from broker.web.portal.failures import FAILURES, Failures
from broker.web.portal.render import Templates, marked

PAGES = Failures(templates=Templates())


async def page(code: str) -> str:
    request = make_mocked_request("GET", f"{wire.PROBLEMS_PATH}/{code}", match_info={"code": code})
    answer = await PAGES.one(request)
    assert answer.status == 200
    return str(answer.text)


@pytest.mark.parametrize("kind", problems.TABLE)
async def test_every_problem_names_a_page_that_is_there(kind: type[BrokerError]) -> None:
    error = kind.__new__(kind)  # some of them want to know more than goes into their body
    error.hint = None
    said = json.loads(problems.body(error, request_id="0" * 24))
    before, _, code = said["type"].rpartition("/")
    assert (before, code) == (wire.PROBLEMS_PATH, said["code"])
    assert f"{code}, status {said['status']}." in await page(code)


def test_there_is_a_page_and_an_operators_note_for_each_code_and_for_nothing_else() -> None:
    assert set(FAILURES) == set(NOTES) == set(wire.PROBLEM_CODES)


async def test_a_page_says_what_the_user_and_what_the_operator_does() -> None:
    text = await page("audit_unavailable")
    assert "is full or broken" in text
    assert "<code>df -h /var/log/zerotrust &amp;&amp; df -i /var/log/zerotrust</code>" in text


async def test_an_unknown_code_is_no_address_and_is_not_repeated() -> None:
    with pytest.raises(NotFound) as refused:
        await page("<script>")
    assert "script" not in str(refused.value.hint)


async def test_the_list_leads_to_each() -> None:
    text = str((await PAGES.listing(make_mocked_request("GET", wire.PROBLEMS_PATH))).text)
    assert [code for code in FAILURES if f'href="{wire.PROBLEMS_PATH}/{code}"' not in text] == []


def test_commands_in_sentences_are_marked_and_markup_in_them_stays_text() -> None:
    assert marked("a <b> `c <d>` e") == "a &lt;b&gt; <code>c &lt;d&gt;</code> e"
