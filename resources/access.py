"""Who may call an operation. A row of the routes table names one of these rules; there is no row without one."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from domain import login
from domain.caller import Caller
from domain.errors import TokenMissing, Unauthenticated
from resources import credentials


class Rule(NamedTuple):
    """`look` finds the caller or refuses; `confirm` asks once more when the body is known. `security` is for the document."""

    name: str
    look: Callable[[], Caller | None]
    confirm: Callable[[Caller | None, Any], None] = lambda _caller, _body: None
    security: tuple[dict[str, list[str]], ...] = ({"bearer": []}, {"cookie": []})


def _nobody() -> None:
    return None


def _whoever() -> Caller | None:
    """The caller if there is one; a credential that is not good counts as none here."""
    try:
        return credentials.signed_in(note=False)
    except Unauthenticated:
        return None


def _perhaps() -> Caller | None:
    """The caller if a credential came, which then must be good."""
    try:
        return credentials.signed_in()
    except TokenMissing:
        return None


def _recently(caller: Caller | None, body: Any) -> None:
    assert caller is not None
    password = getattr(body, "current_password", None)
    login.require_recent(caller, password.get_secret_value() if password else None)


anyone = Rule("anyone", _nobody, security=())
perhaps_signed_in = Rule("perhaps_signed_in", _perhaps, security=({"bearer": []}, {"cookie": []}, {}))
whoever_signed_in = Rule("whoever_signed_in", _whoever, security=({"bearer": []}, {"cookie": []}, {}))
signed_in = Rule("signed_in", credentials.signed_in)
recently_signed_in = Rule("recently_signed_in", credentials.signed_in, _recently)
leaving_by_header = Rule("leaving_by_header", partial(credentials.leaving, cookies=False), security=({"bearer": []}, {"refresh": []}))
scraping = Rule("scraping", credentials.scraping, security=({"metrics": []},))
refreshing = Rule("refreshing", credentials.refreshing, security=({"refresh": []}, {"refreshCookie": []}))
leaving = Rule("leaving", credentials.leaving, security=({"bearer": []}, {"refresh": []}, {"cookie": []}, {"refreshCookie": []}))
