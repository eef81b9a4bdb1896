"""A role's credentials and the vault's secrets, for one program: ``exec``, ``shell``, ``env`` and ``fetch``."""
