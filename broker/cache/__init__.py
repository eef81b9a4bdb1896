"""Credentials kept until shortly before they expire, sealed, so that whoever holds the store holds nothing."""
