"""What runs on the user's side: the ``zerotrust`` command. Standard library and the system's Kerberos, nothing else."""

__version__ = "0.1.0"
