"""``zerotrust login`` and ``logout``, and the ticket that somebody holds."""
