"""Where an address is, as far as a database knows (MaxMind's format: GeoLite2 City, DB-IP City and the like).

The file is read as it is asked, not mapped: one that is cut short while we run gives wrong answers at the worst, where a mapped
one would end the broker. Answers are kept by network, so that nearly no question reaches it.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from ipaddress import ip_address
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.core.errors import ConfigurationError
from broker.watch.anomaly.travel import Place

if TYPE_CHECKING:
    import maxminddb

_KEPT = 2_000
# Records looked at for one with a place, before a database is believed to have none.
_SAMPLE = 500
_KEY = "watch.geoip_database"
_FIX = "name a City database in MaxMind's format (.mmdb)"

_log = logging.getLogger(__name__)


class Places:
    """Knows nothing where there is no database."""

    def __init__(self, path: Path | None) -> None:
        """Open it.

        Raises:
            ConfigurationError: It cannot be read, is none, or knows no places.
        """
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._reader: maxminddb.Reader | None = None
        self._kept: OrderedDict[str, Place | None] = OrderedDict()
        if path is not None:
            self.reload()

    def reload(self) -> bool:
        """Take over a changed file; whether there was one. What cannot be used leaves the old in force.

        Raises:
            ConfigurationError: As at the start.
        """
        if self._path is None:
            return False
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen == self._seen:
                return False
            reader = _opened(self._path)
        except OSError as error:
            raise ConfigurationError(
                [f"{_KEY}: {self._path} cannot be read ({error.strerror}) — fix: {_FIX}"]
            ) from error
        self.close()
        self._reader, self._seen = reader, seen
        self._kept.clear()
        return True

    def of(self, address: str) -> Place | None:
        """Where an address is; None where nobody knows."""
        if self._reader is None:
            return None
        if address in self._kept:
            self._kept.move_to_end(address)
            return self._kept[address]
        place = self._looked_up(self._reader, address)
        self._kept[address] = place
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return place

    def close(self) -> None:
        """Let the file go."""
        if self._reader is not None:
            self._reader.close()

    def _looked_up(self, reader: maxminddb.Reader, address: str) -> Place | None:
        try:
            # An IPv6 address may be a link's, which no database has.
            return _place(reader.get(ip_address(address.partition("%")[0])))
        except Exception as error:  # noqa: BLE001  # a file that was overwritten in place can break in any way
            _log.debug("watch: %s: %s", self._path, type(error).__name__)
            return None


def _opened(path: Path) -> maxminddb.Reader:
    import maxminddb  # noqa: PLC0415  # 20 ms of the start, for those alone who have a database

    try:
        if path.stat().st_size == 0:
            raise maxminddb.InvalidDatabaseError  # noqa: TRY301  # what the library finds too, and forgets to close the file
        reader = maxminddb.open_database(path, mode=maxminddb.MODE_FILE)
        has_places = any(_place(record) for _, record in islice(reader, _SAMPLE))
    except OSError:
        raise
    except Exception as error:
        raise ConfigurationError([f"{_KEY}: {path} is no database, or is damaged — fix: {_FIX}"]) from error
    if not has_places:
        reader.close()
        raise ConfigurationError([f"{_KEY}: {path} says of no address where it is — fix: {_FIX}"])
    return reader


def _place(record: object) -> Place | None:
    if not isinstance(record, Mapping) or not isinstance(location := record.get("location"), Mapping):
        return None
    latitude, longitude = location.get("latitude"), location.get("longitude")
    if not (isinstance(latitude, float | int) and isinstance(longitude, float | int)):
        return None
    names = [_name(record, part) for part in ("city", "country")]
    name = ", ".join(filter(None, names)) or f"{latitude:.1f}, {longitude:.1f}"
    return Place(round(float(latitude), 2), round(float(longitude), 2), name)


def _name(record: Mapping[str, Any], part: str) -> str | None:
    found = record.get(part)
    names = found.get("names") if isinstance(found, Mapping) else None
    name = names.get("en") if isinstance(names, Mapping) else None
    # It goes into records, which hold nothing that a terminal would obey.
    return name if isinstance(name, str) and name.isprintable() else None
