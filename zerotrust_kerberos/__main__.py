"""``python -m zerotrust_kerberos`` is ``zerotrust``."""

import sys

from zerotrust_kerberos.cli import main

sys.exit(main())
