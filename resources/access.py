"""Who may call an operation. A row of the routes table names one of these rules; there is no row without one."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from flask import request

from domain import api_keys, login, roles
from domain.caller import Caller, Kind
from domain.errors import Forbidden, TokenInvalid, TokenMissing, Unauthenticated
from domain.permissions import Permission
from resources import clients, credentials, reading
from resources import forwarded as forwarding

SIGN_INS: frozenset[Kind] = frozenset(("sign_in",))
OWNERS: frozenset[Kind] = frozenset(("sign_in", "api_key"))
SERVICES: frozenset[Kind] = frozenset(("app_token", "service"))
BY_KEY, BY_APP_TOKEN = "apiKey", "appToken"  # The header credentials in the document; either may come as a bearer too.


class Rule(NamedTuple):
    """`look` finds the caller or refuses; `kinds` are the credentials that it opens to; `rights` judge the caller, `proofs`
    once more when the body is known, which may hold one. `security` is for the document: the credentials, and as scope the
    permission that is asked for.

    Rules with the same `look` compose: `recently_signed_in & may("users:write")` asks for both, and opens to whom either opens.
    """

    name: str
    look: Callable[[], Caller | None]
    rights: tuple[Callable[[Caller], None], ...] = ()
    proofs: tuple[Callable[[Caller | None, Any], None], ...] = ()
    security: tuple[dict[str, list[str]], ...] = ({"bearer": []}, {"cookie": []})
    kinds: frozenset[Kind] = SIGN_INS

    def __and__(self, other: "Rule") -> "Rule":
        """Both rules; the caller is found once."""
        if self.look is not other.look:
            raise ValueError(f"{self.name} and {other.name} are for different callers")
        named: dict[str, list[str]] = {}
        for one in (*self.security, *other.security):
            for name, scopes in one.items():
                named[name] = [*named.get(name, ()), *scopes]
        return Rule(
            f"{self.name} & {other.name}",
            self.look,
            tuple(dict.fromkeys(self.rights + other.rights)),
            tuple(dict.fromkeys(self.proofs + other.proofs)),
            tuple({name: scopes} for name, scopes in named.items()),
            self.kinds | other.kinds,
        )

    def judge(self, caller: Caller | None) -> None:
        """Refuse a caller who may not do this, before the body is read."""
        if caller is not None and caller.kind not in self.kinds:
            # A service's rows know nothing of users; everywhere else a good key is known, and not allowed.
            raise TokenInvalid if caller.kind == "sign_in" else Forbidden
        for right in self.rights:
            assert caller is not None
            right(caller)

    def confirm(self, caller: Caller | None, body: Any) -> None:
        """Refuse a caller who has not proven enough, in the session or in the body."""
        for proof in self.proofs:
            proof(caller, body)


def _nobody() -> None:
    return None


def _whoever() -> Caller | None:
    """The caller if there is one; a credential that is not good counts as none here."""
    try:
        return credentials.signed_in()
    except Unauthenticated:
        return None


def _perhaps() -> Caller | None:
    """The caller if a credential came, which then must be good."""
    try:
        return credentials.whoever()
    except TokenMissing:
        return None


def _unless_enrolling() -> Caller | None:
    """The caller by an access token; nobody where the body brings the ticket of a sign-in, which the domain judges."""
    return None if reading.sends("mfa_token") else credentials.whoever()


def _unless_finishing() -> Caller | None:
    """The same for a sign-in that is on its way to a second factor, where another may still run in this browser."""
    return None if reading.sends("mfa_token") else _perhaps()


def _recently(caller: Caller | None, body: Any) -> None:
    if caller is None or caller.kind != "sign_in":
        return  # Who comes with a ticket has given a first factor just now; a key was made after a recent sign-in.
    password = getattr(body, "current_password", None)
    login.require_recent(caller, password.get_secret_value() if password else None)


def _with_factor(caller: Caller) -> None:
    """Asked of sign-ins: a key was made after one, and its scopes bound it."""
    if caller.kind == "sign_in":
        login.require_factor(caller)


def may(permission: str) -> Rule:
    """Who has this permission of the server's own, by whatever credential; who signed in has given the second factor where one
    is on.
    """
    right = partial(_require_right, Permission(permission))
    security = tuple({name: [permission]} for name in ("bearer", "cookie", BY_KEY, BY_APP_TOKEN))
    return with_second_factor & Rule(f"may({permission})", credentials.whoever, (right,), security=security, kinds=OWNERS | SERVICES)


def signed_in_or_key(name: str, scope: str) -> Rule:
    """Who is signed in, or has an API key with this scope for its owner's own account."""
    right = partial(_require_scope, scope)
    security = (*signed_in.security, {BY_KEY: [scope]})
    return Rule(name, credentials.whoever, (right,), security=security, kinds=OWNERS)


def _require_right(permission: Permission, caller: Caller) -> None:
    if permission not in roles.allowed(caller):
        raise Forbidden


def _require_scope(scope: str, caller: Caller) -> None:
    if caller.scopes is not None and scope not in caller.scopes:
        raise Forbidden


def oneself_or(rule: Rule) -> Rule:
    """Who is signed in and asks about themselves (`<user_id>` in the path), whatever their rights; of others, whom this rule lets in."""
    rights = tuple(partial(_unless_oneself, right) for right in rule.rights)
    return rule._replace(name=f"oneself | {rule.name}", rights=rights)


def _unless_oneself(right: Callable[[Caller], None], caller: Caller) -> None:
    if caller.kind != "sign_in" or (request.view_args or {}).get("user_id") != caller.user_id:
        right(caller)


anyone = Rule("anyone", _nobody, security=(), kinds=frozenset())
perhaps_signed_in = Rule("perhaps_signed_in", _perhaps, security=({"bearer": []}, {"cookie": []}, {}))
perhaps_signed_in_or_finishing = perhaps_signed_in._replace(name="perhaps_signed_in_or_finishing", look=_unless_finishing)
whoever_signed_in = Rule("whoever_signed_in", _whoever, security=({"bearer": []}, {"cookie": []}, {}))
signed_in = Rule("signed_in", credentials.whoever)
recently_signed_in = Rule("recently_signed_in", credentials.whoever, proofs=(_recently,))
recently_signed_in_or_enrolling = Rule(
    "recently_signed_in_or_enrolling", _unless_enrolling, proofs=(_recently,), security=({"bearer": []}, {"cookie": []}, {})
)
with_second_factor = Rule("with_second_factor", credentials.whoever, (_with_factor,))
profile_reader = signed_in_or_key("profile_reader", api_keys.PROFILE_READ)
profile_writer = signed_in_or_key("profile_writer", api_keys.PROFILE_WRITE)
asking_service = Rule("asking_service", credentials.whoever, security=({"bearer": []}, {BY_APP_TOKEN: []}), kinds=SERVICES)
asking_client = Rule("asking_client", clients.client, security=({"client": []}, {"bearer": []}, {BY_APP_TOKEN: []}, {}), kinds=SERVICES)
forwarded = Rule(
    "forwarded", forwarding.caller, security=({"bearer": []}, {"cookie": []}, {BY_KEY: []}, {BY_APP_TOKEN: []}), kinds=OWNERS | SERVICES
)
leaving_by_header = Rule("leaving_by_header", partial(credentials.leaving, cookies=False), security=({"bearer": []}, {"refresh": []}))
scraping = Rule("scraping", credentials.scraping, security=({"metrics": []},), kinds=frozenset())
refreshing = Rule("refreshing", credentials.refreshing, security=({"refresh": []}, {"refreshCookie": []}))
leaving = Rule("leaving", credentials.leaving, security=({"bearer": []}, {"refresh": []}, {"cookie": []}, {"refreshCookie": []}))
