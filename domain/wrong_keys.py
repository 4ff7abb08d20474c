"""How many API keys that nobody has an address may try. Nobody guesses 256 bits; but who tries is heard of, and slowed down.

Counted in the database, so exact over all workers: FAILED_ATTEMPTS_LIMIT from the first wrong one on for RATE_LIMIT_WINDOW. A
right key is never asked about here.
"""

import config
from domain import tallies
from domain.caller import Client
from domain.errors import TooManyAttempts

KEYS = "keys"


def count(client: Client) -> None:
    """One more from this address; `TooManyAttempts` once it has had its share."""
    window = config.settings.RATE_LIMIT_WINDOW
    if tallies.take(KEYS, client, window) is None:
        raise TooManyAttempts(retry_after=max(1, tallies.wait(KEYS, client, window)))
