"""``python -m broker`` is ``zerotrust-broker``."""

from broker.cli import main

main()
