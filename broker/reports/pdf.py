"""A report as PDF. The same report makes the same bytes: no time of making, no random identifier (reportlab's ``invariant``).

The standard fonts know Latin-1; what they do not know is written as its code point, so that two names never look alike.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.enums import TA_LEFT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageTemplate, Paragraph, Spacer, Table, TableStyle

from broker.core.visible import visible
from broker.reports.answer import Verdict
from broker.reports.report import Finding, Report

_MARGIN = 18 * mm
_WIDTH = A4[0] - 2 * _MARGIN

_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=8.5, leading=11, alignment=TA_LEFT, splitLongWords=True)
_SMALL = ParagraphStyle("small", parent=_BODY, fontSize=7.5, leading=9.5, leftIndent=8, bulletIndent=0)
_BOLD = ParagraphStyle("bold", parent=_BODY, fontName="Helvetica-Bold")
_TITLE = ParagraphStyle("title", parent=_BOLD, fontSize=17, leading=22, spaceAfter=6)
_HEADING = ParagraphStyle("heading", parent=_BOLD, fontSize=12, leading=16, spaceBefore=12, spaceAfter=4)
_COLOURS = {Verdict.PASS: "#1a7f37", Verdict.FAIL: "#cf222e", Verdict.NOT_COVERED: "#9a6700"}

# Of the page's width: control, verdict, evidence; principal, role, times, last; when, event, by, about, reason.
_CONTROL_COLUMNS = (0.27, 0.13, 0.6)
_ACCESS_COLUMNS = (0.42, 0.24, 0.08, 0.26)
_EVENT_COLUMNS = (0.2, 0.16, 0.22, 0.22, 0.2)


def as_pdf(report: Report) -> bytes:
    """The report on A4 pages with numbers."""
    file = io.BytesIO()
    document = BaseDocTemplate(
        file,
        pagesize=A4,
        title=report.title,
        author="ZeroTrustKerberosLink",
        subject=f"As of {report.as_of}",
        invariant=1,
    )
    frame = Frame(_MARGIN, _MARGIN, _WIDTH, A4[1] - 2 * _MARGIN, leftPadding=0, rightPadding=0)

    def footer(canvas: Canvas, _: BaseDocTemplate) -> None:
        canvas.setFont("Helvetica", 7.5)
        canvas.drawString(_MARGIN, 10 * mm, _latin(f"{report.title}, as of {report.as_of}"))
        canvas.drawRightString(A4[0] - _MARGIN, 10 * mm, str(canvas.getPageNumber()))

    document.addPageTemplates([PageTemplate(frames=[frame], onPage=footer)])
    document.build([*_opening(report), *_controls(report), *_access(report), *_events(report)])
    return file.getvalue()


def _opening(report: Report) -> Iterable[Flowable]:
    yield _text(report.title, _TITLE)
    period = f"as of {report.as_of}, from {report.since} on: {report.extent}."
    yield _text(f"Evidence of the ZeroTrustKerberosLink credential broker, {period}")
    counts = ", ".join(_marked(Verdict(verdict), f"{number} {verdict}") for verdict, number in report.verdicts)
    yield Paragraph(f"{counts}.", _BODY)
    yield Spacer(0, 2 * mm)
    yield _text(report.notice)


def _controls(report: Report) -> Iterable[Flowable]:
    yield _text("Controls", _HEADING)
    rows: list[list[object]] = [[_text(head, _BOLD) for head in ("Control", "Verdict", "What shows it")]]
    spans = []
    for finding in report.findings:
        spans.append(len(rows))
        rows += _rows(finding)
    yield _table(rows, _CONTROL_COLUMNS, begins=spans)


def _rows(finding: Finding) -> Iterable[list[object]]:
    """A row an answer and a row a line of evidence: rows break over pages, cells do not."""
    heading: tuple[object, object] = (
        [_text(finding.control.number, _BOLD), _text(finding.control.title)],
        Paragraph(_marked(finding.verdict, finding.verdict.value), _BODY),
    )
    for answer in finding.answers:
        sentence = escape(_latin(answer.sentence))
        if answer.verdict is not finding.verdict:
            sentence = f"{_marked(answer.verdict, answer.verdict.value)}: {sentence}"
        yield [*heading, Paragraph(sentence, _BODY)]
        heading = ("", "")
        for line in answer.evidence:
            yield ["", "", Paragraph(escape(_latin(line)), _SMALL, bulletText="-")]


def _access(report: Report) -> Iterable[Flowable]:
    yield _text("Who was given what", _HEADING)
    if not report.access:
        yield _text("Nobody was given anything in the period.")
        return
    rows: list[list[object]] = [[_text(head, _BOLD) for head in ("Principal", "Role", "Times", "Last")]]
    rows += [[_text(row.user), _text(row.role), _text(str(row.times)), _text(row.last)] for row in report.access]
    yield _table(rows, _ACCESS_COLUMNS)
    if report.omitted:
        yield _text(f"And {report.omitted} more; they are in the records.")


def _events(report: Report) -> Iterable[Flowable]:
    yield _text("Events to look at", _HEADING)
    if not report.notable:
        yield _text("None in the period.")
        return
    members = ("timestamp", "event", "user", "about", "reason")
    rows: list[list[object]] = [[_text(head, _BOLD) for head in ("When", "Event", "By", "About", "Reason")]]
    rows += [[_text(event.get(member, "")) for member in members] for event in report.notable]
    yield _table(rows, _EVENT_COLUMNS)


def _table(rows: list[list[object]], columns: tuple[float, ...], *, begins: Iterable[int] | None = None) -> Table:
    table = Table(rows, colWidths=[_WIDTH * part for part in columns], repeatRows=1)
    lines = range(1, len(rows)) if begins is None else begins
    style = [("LINEABOVE", (0, row), (-1, row), 0.4, colors.grey) for row in lines]
    pad = [
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ]
    table.setStyle(TableStyle([*style, *pad]))
    return table


def _text(text: str, style: ParagraphStyle = _BODY) -> Paragraph:
    return Paragraph(escape(_latin(text)), style)


def _marked(verdict: Verdict, text: str) -> str:
    return f'<font color="{_COLOURS[verdict]}"><b>{escape(text)}</b></font>'


def _latin(text: str) -> str:
    return visible(text).encode("latin-1", "backslashreplace").decode("latin-1")
