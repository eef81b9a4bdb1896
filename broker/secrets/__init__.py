"""Secrets of others that the broker keeps or fetches: the integrated vault, and other people's vaults behind the same port."""
