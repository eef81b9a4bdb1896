"""A report as one HTML file: no script, no picture, nothing fetched. The template engine escapes whatever is not ours."""

from __future__ import annotations

from importlib.resources import files

import jinja2

from broker.core.visible import visible
from broker.reports.report import Report

_TEMPLATE = files(__package__ or "broker.reports").joinpath("report.html")


def as_html(report: Report) -> bytes:
    """The report, in UTF-8."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: visible(value) if isinstance(value, str) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(report=report, verdicts=report.verdicts).encode()
