"""From an address to a country, by the database that GEOIP_DB names; it is read on this machine, nobody is asked."""

import logging

import maxminddb

from config import Settings

_reader: maxminddb.Reader | None = None


def connect(settings: Settings) -> None:
    """Open the database of countries, if there is one. One that can't be read is a warning: nothing depends on it."""
    global _reader
    _reader = None
    if settings.GEOIP_DB:
        try:
            _reader = maxminddb.open_database(str(settings.GEOIP_DB), maxminddb.MODE_MMAP)
        except (OSError, maxminddb.InvalidDatabaseError) as error:
            logging.getLogger("gatehouse").warning("GEOIP_DB can't be read: %s", error)


def country(ip: str | None) -> str | None:
    """The country of an address in ISO 3166-1 (two letters); None where it is not known."""
    if _reader is None or ip is None:
        return None
    try:
        found = _reader.get(ip)
    except ValueError:  # No address, or an IPv6 address in a database of IPv4.
        return None
    return _code(found)


def _code(found: object) -> str | None:
    """MaxMind nests it (`country.iso_code`), others have `country_code` at the top."""
    if not isinstance(found, dict):
        return None
    nested = found.get("country")
    code = found.get("country_code") or (nested.get("iso_code") if isinstance(nested, dict) else None)
    return code if isinstance(code, str) and len(code) == 2 else None
