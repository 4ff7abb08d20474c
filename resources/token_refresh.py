"""Trade a refresh token for the next pair."""

from domain import rotation
from domain.caller import Caller
from resources import sign_in
from resources.base import Resource
from resources.sign_in import Tokens


class Refresh(Resource):
    """One use each; a lost answer can be asked for again, a stolen old token ends the session (RFC 9700 4.14.2)."""

    def post(self, caller: Caller) -> Tokens:
        """The next pair."""
        return sign_in.tokens_of(rotation.refresh(caller))
