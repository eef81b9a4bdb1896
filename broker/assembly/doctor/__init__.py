"""``zerotrust-admin doctor``: what is wrong with this host's broker, found out while it may be down, and while it may be running.

``table`` lists all checks in the order in which one thing needs another; one file holds each group. What several of them look at
is kept by ``patient``. None of them makes anything worse: nothing is written, bound, rotated or restarted, no record of a running
instance is touched, no use of a ticket is noted, nothing is put into Redis, and no role is assumed unless that was asked for.
"""
