"""The AWS Query protocol's answers: XML as botocore and the AWS CLI read it.

Source: the STS API reference (examples and "Common errors") and botocore's service model ``sts/2011-06-15``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
API_VERSION = "2011-06-15"

# A refused value is quoted in the refusal; these characters cannot be written in XML 1.0 at all.
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Fields = Mapping[str, "str | Fields"]


class StsRefusal(Exception):
    """STS says no. ``code`` and ``status`` are AWS's; ``why`` is for the call log only, AWS tells the caller less."""

    def __init__(self, code: str, message: str, *, status: int = 400, why: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.why = why or message


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes onto the wire, and how the call log calls it."""

    status: int
    body: str
    outcome: str = "OK"
    content_type: str = "text/xml"


def result(action: str, fields: Fields, request_id: str) -> Answer:
    """A successful answer; ``fields`` nest as the elements do."""
    return Answer(
        200,
        f'<{action}Response xmlns="{NAMESPACE}"><{action}Result>{_elements(fields)}</{action}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>\n",
    )


def refusal(error: StsRefusal, request_id: str) -> Answer:
    """An error answer. 5xx are the Receiver's fault, all others the Sender's."""
    at_fault = "Receiver" if error.status >= 500 else "Sender"
    fields = {"Type": at_fault, "Code": error.code, "Message": str(error)}
    return Answer(
        error.status,
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error>{_elements(fields)}</Error>'
        f"<RequestId>{request_id}</RequestId></ErrorResponse>\n",
        outcome=error.code,
    )


def _elements(fields: Fields) -> str:
    return "".join(
        f"<{name}>{_text(value) if isinstance(value, str) else _elements(value)}</{name}>"
        for name, value in fields.items()
    )


def _text(value: str) -> str:
    return escape(_NOT_IN_XML.sub("\ufffd", value))
