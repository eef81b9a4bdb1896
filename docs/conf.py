"""The site of these pages: ``make docs`` builds it with Sphinx, every warning an error.

https://www.sphinx-doc.org/en/master/usage/configuration.html
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The user's side is the one that programs import; it needs no package.
sys.path.insert(0, str(ROOT))

project = "ZeroTrustKerberosLink"
html_title = project
html_theme = "furo"
html_show_copyright = False
html_favicon = "../broker/web/portal/icon.svg"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# Pages lie beside what they are about, so the repository is the source; what holds no page is not looked through.
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "docs/*/**.md", "keytabs/*.md", "krb5/*.md", "systemd/*.md"]
exclude_patterns = [
    ".*",
    "bench",
    "broker",
    "demo",
    "dist",
    "docs/_build",
    "man",
    "requirements",
    "tests",
    "zerotrust_kerberos",
]
# Headings can be linked to, as on GitHub.
myst_heading_anchors = 4
autodoc_member_order = "bysource"
# Only asked for by what needs it, and not needed to read what it says.
autodoc_mock_imports = ["boto3", "botocore"]
# In a console or a configuration, no language finds a fault.
suppress_warnings = ["misc.highlighting_failure"]
