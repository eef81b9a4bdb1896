"""How the broker speaks to other people's vaults and key services: addresses, logins, patience, tries, and errors said once.

A file a system. Above it, `keys` wraps keys there and `secrets` keeps secrets there; neither knows how one logs in.
"""
