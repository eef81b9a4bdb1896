"""The page of ``zerotrust completion``."""

from __future__ import annotations

from zerotrust_kerberos.manual.page import SET_UP, Page

PAGE = Page(
    section=SET_UP,
    summary="print what makes TAB complete commands, options and roles in a shell",
    text="""
    Roles and scopes are asked from the broker at most every ten minutes, for less than a second, and their names are kept in
    $XDG_CACHE_HOME/zerotrust. Without a ticket or a broker TAB offers those of the last time.

    Behind -- stands a command line, beginning with the program's name: its candidates are printed. The scripts ask that.
    """,
    words={"bash|zsh|fish": "the shell"},
    behind="WORD",
    examples=(
        ("zerotrust completion bash", "for bash: source <(zerotrust completion bash) in ~/.bashrc"),
        ("zerotrust completion zsh", "for zsh: source <(zerotrust completion zsh) in ~/.zshrc"),
        ("zerotrust completion fish | source", "for fish, in ~/.config/fish/config.fish"),
    ),
)
