"""How many brokers, how big a Redis and how much disk so many people need: measured here, and reckoned from that."""
