"""The server's own name, as long as it has no row."""

import pytest

from domain import services
from domain.errors import NameTaken
from tests.services import OPERATOR


def test_the_servers_own_name_is_taken_before_its_row_is_there(house):
    other = services.add(OPERATOR, "notes", None)
    with pytest.raises(NameTaken):
        services.add(OPERATOR, "gatehouse", None)
    with pytest.raises(NameTaken):
        services.change(OPERATOR, other.id, "gatehouse", None, is_active=True)
    assert [one.name for one in services.every()] == ["notes"]
