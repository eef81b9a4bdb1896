"""The record of everything: signed, chained, on stable storage before a credential leaves."""
