"""The country of an address, by a database of countries where there is one."""

from pathlib import Path

import pytest

import config
from domain import places

DATABASES = Path(__file__).parents[1] / "node_modules" / "@ip-location-db" / "iptoasn-country-mmdb"
PUBLIC = {"8.8.8.8": "US", "193.99.144.80": "DE", "2001:4860:4860::8888": "US"}
NOWHERE = ["127.0.0.1", "10.1.2.3", "192.168.0.1", "::1", "fe80::1", "0.0.0.0", "no address", "8.8.8", "8.8.8.8/24", "", None]


@pytest.fixture
def connected(tmp_path):
    """Connect to the database in this file; no other test finds one."""

    def connect(path):
        places.connect(config.load(APP_ENV="testing", INSTANCE_DIR=tmp_path, GEOIP_DB=path))

    yield connect
    connect(None)


@pytest.fixture
def shipped():
    """A real database, if the packages of tests/package.json are installed."""
    if not DATABASES.is_dir():
        pytest.skip("needs `npm install` in tests/")
    return DATABASES


def test_an_address_is_in_its_country(connected, shipped):
    connected(shipped / "iptoasn-country.mmdb")
    assert {ip: places.country(ip) for ip in PUBLIC} == PUBLIC


@pytest.mark.parametrize("ip", NOWHERE)
def test_what_is_no_public_address_is_in_none(connected, shipped, ip):
    connected(shipped / "iptoasn-country.mmdb")
    assert places.country(ip) is None


def test_a_database_of_ipv4_knows_no_ipv6(connected, shipped):
    connected(shipped / "iptoasn-country-ipv4.mmdb")
    assert places.country("8.8.8.8") == "US"
    assert places.country("2001:4860:4860::8888") is None


@pytest.mark.parametrize("ip", [*PUBLIC, *NOWHERE])
def test_without_a_database_nothing_is_known(connected, ip):
    connected(None)
    assert places.country(ip) is None


def test_a_database_that_can_not_be_read_is_a_warning_and_no_more(connected, tmp_path, caplog):
    broken = tmp_path / "broken.mmdb"
    broken.write_bytes(b"no database at all")
    for path in (broken, tmp_path / "missing.mmdb", tmp_path):
        caplog.clear()
        connected(path)
        assert places.country("8.8.8.8") is None
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "GEOIP_DB" in caplog.text
