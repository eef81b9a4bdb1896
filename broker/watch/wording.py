"""A notice as text: a subject of one line, and a body. Ours, or as an operator's own template has it.

A template is Jinja in its sandbox. What it prints of a notice is escaped for its medium by the environment itself, so an author
cannot forget it; what the author wrote stays as it is. A template that fails while the broker runs costs its words, never the
message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from broker.audit.alert import Severity
from broker.core.clock import rfc3339
from broker.watch.notice import Notice, a_test, one_line

# Characters. Slack cuts at 40,000; a mail or a page of more than this is read by nobody.
_SUBJECT_MAX = 200
_BODY_MAX = 16_000

_OURS = """\
[{{ severity }}] {{ happened }}

{% for sentence in why %}
{{ sentence }}
{% endfor %}

{% if by %}
By:       {{ by }}
{% endif %}
{% if about %}
About:    {{ about }}
{% endif %}
{% if role %}
Role:     {{ role }}
{% endif %}
{% if source_ip %}
From:     {{ source_ip }}
{% endif %}
Recorded: {{ detected }}{% if until %} to {{ until }}, {{ number }} times{% endif %}

{% if do %}

What to do now:
{% for command in do %}
    {{ command }}
{% endfor %}
{% endif %}

{% if seq %}
Record {{ seq }} of instance {{ instance }}{% if request_id %}, request {{ request_id }}{% endif %}.
{% elif instance %}
From instance {{ instance }}.
{% endif %}
"""

_log = logging.getLogger(__name__)

Escape = Callable[[str], str]


class BrokenTemplate(Exception):
    """An operator's template cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Text:
    """``subject`` is one line. ``is_own``: as an operator's template has it."""

    subject: str
    body: str
    is_own: bool


def plain(text: str) -> str:
    """For a medium in which no sign means anything."""
    return text


class Wording:
    """For one channel."""

    def __init__(self, *, template: str | None, escape: Escape) -> None:
        """Take an operator's template, if there is one, and what its medium wants escaped.

        Raises:
            BrokenTemplate: It cannot be read, or fails with a notice.
        """
        self._escape = escape
        self._ours = _environment(escape).from_string(_OURS)
        self._own = None
        if template is not None:
            try:
                self._own = _environment(escape).from_string(template)
                for notice in _SAMPLES:
                    _text(self._own, notice, is_own=True)
            except jinja2.TemplateSyntaxError as error:
                raise BrokenTemplate(f"line {error.lineno}: {error.message}") from error
            except Exception as error:  # whatever an author's expression raises
                raise BrokenTemplate(f"{type(error).__name__}: {error}") from error

    def of(self, notice: Notice) -> Text:
        """The notice's subject and body."""
        if self._own is not None:
            try:
                return _text(self._own, notice, is_own=True)
            except Exception as error:  # noqa: BLE001  whatever an author's expression raises
                _log.error("notification: the template fails, ours is used: %s", type(error).__name__)
        return _text(self._ours, notice, is_own=False)


def _environment(escape: Escape) -> jinja2.Environment:
    return ImmutableSandboxedEnvironment(
        # Escaping is the finalizer's: HTML's would be wrong in every medium that we have.
        autoescape=False,
        finalize=lambda value: "" if value is None else escape(str(value)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _text(template: jinja2.Template, notice: Notice, *, is_own: bool) -> Text:
    subject, _, body = template.render(_words(notice)).partition("\n")
    subject = one_line(subject.strip(), longest=_SUBJECT_MAX)
    if not subject:
        raise ValueError("the first line, which is the subject, is empty")
    return Text(subject=subject, body=body.strip("\n")[:_BODY_MAX], is_own=is_own)


def _words(notice: Notice) -> Mapping[str, Any]:
    """What a template can name: the notice's members, times as text."""
    found = asdict(notice)
    found["severity"] = notice.severity.value
    found["detected"] = rfc3339(notice.detected)
    found["until"] = rfc3339(notice.until) if notice.until else None
    return found


_NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
# A template must be able to say all that can come: with everything, and with nothing that can be missing.
_SAMPLES = (
    a_test(by=None, now=_NOON, id_="sample-1"),
    Notice(
        id="sample-2",
        name="impossible_travel",
        severity=Severity.HIGH,
        detected=_NOON,
        happened="Impossible travel: alice@EXAMPLE.COM",
        why=("Berlin and Sydney are 16,090 km apart.",),
        do=("zerotrust-admin audit trace 1f", "zerotrust-admin revoke-credentials --user alice@EXAMPLE.COM"),
        about="alice@EXAMPLE.COM",
        by="root/admin@EXAMPLE.COM",
        role="developer",
        source_ip="203.0.113.9",
        request_id="1f",
        instance="broker-1",
        seq=1,
        number=2,
        until=_NOON,
        elevation="0" * 32,
    ),
)
