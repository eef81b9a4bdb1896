"""Databases of places in MaxMind's format, as small as a test needs them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

BERLIN = {
    "city": {"names": {"en": "Berlin", "de": "Berlin"}},
    "country": {"iso_code": "DE", "names": {"en": "Germany"}},
    "location": {"latitude": 52.52, "longitude": 13.4},
}
SYDNEY = {"city": {"names": {"en": "Sydney"}}, "location": {"latitude": -33.87, "longitude": 151.2}}


def database(path: Path, places: Mapping[str, Mapping[str, Any]]) -> Path:
    """A file with what is said of each network."""
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Test-City")
    for network, record in places.items():
        writer.insert_network(IPSet([network]), dict(record))
    writer.to_db_file(str(path))
    return path
