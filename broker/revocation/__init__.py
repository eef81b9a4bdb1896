"""What no longer counts: known to every instance within a second, and never forgotten."""
