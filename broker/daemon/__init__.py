"""The broker as a process among others: what it listens on, what it tells systemd and journald, how it begins and ends."""
