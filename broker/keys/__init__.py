"""Keys: what seals, what signs, and where they come from."""
