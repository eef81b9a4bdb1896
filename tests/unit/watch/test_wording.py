"""The words as they are sent, and what an operator's own template can and cannot do."""

from __future__ import annotations

import logging

import pytest

from broker.audit.alert import Severity
from broker.core.principal import Principal
from broker.watch.channels.slack import escape
from broker.watch.notice import a_test, again, digest
from broker.watch.wording import BrokenTemplate, Wording, plain
from tests.fakes.audit import NOON
from tests.fakes.notices import notice

OURS = """\
Berlin and Sydney are 16,090 km apart.
No airplane does that in 9 minutes.

About:    alice@EXAMPLE.COM
Role:     developer
From:     203.0.113.9
Recorded: 2026-01-31T12:00:07Z

What to do now:
    zerotrust-admin audit trace 6f1e2d
    zerotrust-admin revoke-credentials --user alice@EXAMPLE.COM

Record 7 of instance broker-1, request 6f1e2d."""


def test_our_words_say_everything_there_is() -> None:
    text = Wording(template=None, escape=plain).of(notice())
    assert text.subject == "[high] Impossible travel: alice@EXAMPLE.COM"
    assert text.body == OURS
    assert not text.is_own


def test_our_words_fit_a_count_a_digest_and_a_test() -> None:
    words = Wording(template=None, escape=plain)
    count = words.of(again(notice(1), number=3, since=NOON, until=NOON))
    assert "Recorded: 2026-01-31T12:00:00Z to 2026-01-31T12:00:00Z, 3 times\n" in count.body
    # A count stands for several records: none of them is named as the one.
    assert count.body.endswith("\n\nFrom instance broker-1.")
    many = words.of(
        digest({"new_role": 400, "x": 12}, severity=Severity.LOW, since=NOON, until=NOON, instance="broker-1")
    )
    assert many.subject == "[low] And 412 more of severity low: 400 new_role, 12 x"
    tried = words.of(a_test(by="root/admin@EXAMPLE.COM", now=NOON, id_="1"))
    assert tried.body.splitlines() == [
        "An operator asked the broker to try this channel. If you read this, it works.",
        "",
        "By:       root/admin@EXAMPLE.COM",
        "Recorded: 2026-01-31T12:00:00Z",
    ]


def test_what_comes_from_a_record_is_escaped_and_what_the_author_wrote_is_not() -> None:
    template = "<!here> {{ happened }}\n*{{ about | safe }}* & {{ why[0] }}"
    hostile = notice(about=Principal(("<!channel>",), "EXAMPLE.COM"), why=("<https://evil|log in> & more",))
    text = Wording(template=template, escape=escape).of(hostile)
    assert text.subject == "<!here> Impossible travel: &lt;!channel&gt;@EXAMPLE.COM"
    assert text.body == "*&lt;!channel&gt;@EXAMPLE.COM* & &lt;https://evil|log in&gt; &amp; more"
    assert text.is_own


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ happened", "line 1: "),
        ("fine\n{% for x in %}", "line 2: "),
        ("{{ hapened }}", "'hapened' is undefined"),
        ("\n{{ happened }}", "the first line, which is the subject, is empty"),
        ("{{ about.upper() }}", "'None' has no attribute 'upper'"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
        ("{% include '/etc/passwd' %}", "no loader for this environment"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_with_the_reason(template: str, why: str) -> None:
    with pytest.raises(BrokenTemplate) as refused:
        Wording(template=template, escape=plain)
    assert why.lower() in str(refused.value).lower()


def test_a_template_that_fails_later_costs_its_words_and_not_the_message(caplog: pytest.LogCaptureFixture) -> None:
    wording = Wording(template="{{ happened }} {{ 1 // (seq or 1) if seq != 7 else 1 // 0 }}", escape=plain)
    with caplog.at_level(logging.ERROR):
        text = wording.of(notice(7))
    assert text.body == OURS
    assert "the template fails, ours is used: ZeroDivisionError" in caplog.text
    assert wording.of(notice(1)).is_own


def test_a_subject_is_one_bounded_line_and_a_body_has_an_end() -> None:
    text = Wording(template="{{ happened * 50 }}\n{{ happened * 900 }}", escape=plain).of(notice())
    assert (len(text.subject), len(text.body)) == (200, 16_000)
