"""Text that shows all it holds: a name may not hide characters, turn a line around, nor tell a terminal what to do."""


def visible(text: str) -> str:
    """The same, with whatever does not print written as its code point, as Python does."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
