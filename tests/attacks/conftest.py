"""What attack tests of social sign-in share: a stand-in for every provider, and a server that knows them."""

import pytest

from tests.providers import OWN, everybody, new_sub, settings_of


@pytest.fixture(scope="module")
def stand_ins(request):
    """Every provider, and whom the module names in `MORE`. Its server is started after them and gets their settings."""
    with everybody(*getattr(request.module, "MORE", (OWN,))) as running:
        request.module.SETTINGS.update(settings_of(running))
        yield running


@pytest.fixture
def provider(request, stand_ins, email):
    """One of them, honest again for each test, with a user that no other test has."""
    return honest(stand_ins[request.param], email)


@pytest.fixture
def google(stand_ins, email):
    """Google, likewise."""
    return honest(stand_ins["google"], email)


def honest(provider, email):
    provider.known_as(new_sub(), email)
    return provider
