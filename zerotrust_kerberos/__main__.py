#!python
"""``python -m zerotrust_kerberos`` is ``zerotrust``.

Installed as the program itself: pip and uv replace the first line. The script that they would make for an entry point imports
``re``, which takes longer than all of the helper's own modules.
"""

from zerotrust_kerberos.cli import main

main()
