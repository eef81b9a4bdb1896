"""The composition root: settings in, a broker out. The only place that knows every room; a file for each part of the house.

Nothing is imported here: a command brings in the part that it needs, and not the whole house before it.
"""
