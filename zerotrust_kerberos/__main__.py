"""``python -m zerotrust_kerberos`` is ``zerotrust``."""

from zerotrust_kerberos.cli import main

main()
