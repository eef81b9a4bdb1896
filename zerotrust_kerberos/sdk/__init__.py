"""For programs: the classes that ``zerotrust_kerberos`` names in ``__all__``."""
