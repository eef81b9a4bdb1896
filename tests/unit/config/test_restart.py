"""What stands for a configuration in records tells nobody what is in it."""

from __future__ import annotations

from broker.config.restart import digests, fingerprint


def test_a_fingerprint_says_nothing_without_the_key(host, minimal):
    found = digests(host.load(minimal))
    made = fingerprint(found, policy="p", key=b"k" * 32)
    assert made == fingerprint(found, policy="p", key=b"k" * 32)
    assert made != fingerprint(found, policy="p", key=b"x" * 32)
    assert made != fingerprint({**found, "server.listen": "another"}, policy="p", key=b"k" * 32)
