"""axe-core in a page: what keeps somebody with a screen reader, a keyboard or weak eyes from using it.

All of axe's rules run, the levels A and AA of WCAG 2.2 as well as its advice ("best-practice"), on the page as it is now: after
each state worth looking at, call ``findings`` again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

# `make test` installs it from its lock (requirements/javascript).
_SOURCE = Path(sys.prefix) / "javascript/node_modules/axe-core/axe.min.js"
_RUN = """async () => {
  const { violations, passes } = await axe.run(document, { resultTypes: ["violations"] });
  return { violations, passes: passes.length };
}"""


def findings(page: Page) -> list[str]:
    """One line for each fault: the rule, what to do, and the element; an empty list is what a test wants.

    Raises:
        AssertionError: axe found nothing at all to look at, so an empty list would mean nothing.
    """
    if not page.evaluate("'axe' in window"):
        # By the debugger, which no Content-Security-Policy forbids: as a script element it would have to.
        page.evaluate(_SOURCE.read_text(encoding="utf-8") + "\n;undefined")
    found: dict[str, Any] = page.evaluate(_RUN)
    assert found["passes"] > 0, "axe looked at nothing"
    return [
        f"{rule['id']}: {rule['help']}: {' '.join(map(str, node['target']))}: {node['html'][:120]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
