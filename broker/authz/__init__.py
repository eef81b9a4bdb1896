"""Who may have what. Pure: no network, no clock, no file."""
