"""``docs/failures/``: a page for each code, of the same words as ``zerotrust help CODE`` and the broker's own ``/problems``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from broker.web.portal.failures import FAILURES
from docs.markdown import escaped, sentence
from zerotrust_kerberos.failures import TABLE
from zerotrust_kerberos.meanings import EXITS, MEANINGS

_INTRODUCTION = """\
# Failures

A failure names its code: on the command line in brackets, `what [CODE] — run: fix`; over HTTP in the members `code` and `type`
of a problem document ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)). `zerotrust help CODE`, the broker's own pages under
`/problems` and these pages say the same.
"""


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of each file."""
    yield "README.md", _index()
    for code in MEANINGS:
        yield f"{code}.md", _page(code)


def _index() -> str:
    rows = [
        f"| [`{code}`]({code}.md) | {FAILURES[code].answer.status if code in FAILURES else ''} | {TABLE[code][0]} "
        f"| {sentence(meaning.happened)} |"
        for code, meaning in MEANINGS.items()
    ]
    exits = [f"| {status} | {text} |" for status, text in EXITS.items()]
    return "\n".join(
        [
            _INTRODUCTION,
            "| code | HTTP | exit status | what happened |",
            "|---|---|---|---|",
            *rows,
            "",
            "## Exit statuses",
            "",
            "| status | stands for |",
            "|---|---|",
            *exits,
            "",
            "```{toctree}",
            ":hidden:",
            "",
            *MEANINGS,
            "```",
            "",
        ]
    )


def _page(code: str) -> str:
    meaning, status = MEANINGS[code], TABLE[code][0]
    parts = [f"# {escaped(code)}", sentence(meaning.happened), _said(code, status)]
    parts += ["## What it can come from", _listed(meaning.why), "## What to do", _listed(meaning.do)]
    if code in FAILURES:
        parts += ["## For the broker's administrator", _listed(FAILURES[code].operator)]
    return "\n\n".join(parts) + "\n"


def _said(code: str, status: int) -> str:
    ends = f"Commands end with exit status {status} ({EXITS[status]})"
    if code not in FAILURES:
        return f"{ends}. Found out on the user's side: the broker was not asked, or gave no usable answer."
    answer = FAILURES[code].answer
    return f"The broker answers {answer.status}, “{answer.title}”. {ends}."


def _listed(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence(one)}" for one in sentences)
