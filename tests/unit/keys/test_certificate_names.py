"""Whom a certificate is for, as clients see it."""

from __future__ import annotations

from pathlib import Path

from broker.keys.certificate import shown
from tests.fakes.certificates import server_certificate


def test_a_star_stands_for_one_label_and_names_are_compared_whole(tmp_path: Path) -> None:
    [one] = shown(server_certificate(tmp_path, "ecdsa-sha256", host="*.example.com", also=["broker.test"]).pem)
    assert [name for name in ("a.example.com", "broker.test") if not one.is_for(name)] == []
    assert [name for name in ("example.com", "a.b.example.com", "x.broker.test", "test") if one.is_for(name)] == []
