"""Python's compiled modules, the same bytes each time.

They name a file as it will lie, and hold whatever time a file says: nobody edits what a package owns. The interpreter that
compiles has nothing else loaded: which strings are interned shows in the bytes.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

# Debian 12's. The packages say so too.
PYTHON = "python3.11"

_COMPILE = """
import compileall, py_compile, sys
root, shown, beside, *folders = sys.argv[1:]
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
for folder in folders:
    compileall.compile_dir(
        folder, quiet=2, force=True, stripdir=root, prependdir=shown, invalidation_mode=mode, legacy=beside == "beside"
    )
"""


def compile_all(root: Path, *folders: Path, shown: str, beside: bool = False) -> None:
    """Compile what can be compiled; templates of sources are left as they are.

    Args:
        root: What the modules' names shall begin without.
        folders: Below it.
        shown: What they shall begin with instead.
        beside: Put each beside its source, where ``zipimport`` looks, rather than into ``__pycache__``.
    """
    command = [f"/usr/bin/{PYTHON}", "-I", "-c", _COMPILE, root, shown, "beside" if beside else "", *folders]
    subprocess.run(command, check=True)
