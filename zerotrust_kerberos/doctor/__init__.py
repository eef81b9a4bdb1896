"""``zerotrust doctor``: why it does not work, found out by trying, with evidence and a command for each fault.

``table`` lists all checks in the order in which one thing needs another; one file holds each group. What a check needs of the
world it gets through ``patient``, where the answers that several checks look at are kept.
"""
