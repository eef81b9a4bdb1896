"""Looks at what was recorded. Folds over audit events; no room calls in here."""
