"""Are the parts there that the server needs to work?"""

from domain import cache, canaries, schema
from domain.errors import Fault, Refused, Unavailable


def require() -> None:
    """Refuse with `Unavailable`, naming each part that is away: the database, its schema, the right keys, Redis where it is configured."""
    missing = [Fault(part, "away", sentence) for part, sentence in _missing()]
    if missing:
        raise Unavailable(errors=missing, retry_after=2)


def _missing() -> list[tuple[str, str]]:
    missing = []
    try:
        if not schema.is_current():
            missing.append(("migrations", "The database's schema is not the newest; run `flask migrate up`."))
        elif canaries.keep_if_open():
            missing.append(("keys", "The keys are not those that this database was written under; see `flask check`."))
    except Refused:
        missing.append(("database", "The database does not answer."))
    if not cache.is_there():
        missing.append(("redis", "Redis does not answer."))
    return missing
