"""``zerotrust completion``: what TAB offers. The shells' scripts are thin and never out of date: they ask this program."""
