"""Why a letter or a message did not leave: what that says about this one, and about the next."""


class Failed(Exception):
    """It did not leave. `reason` is short and holds no address, no secret and nothing that the other side wrote."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Hopeless(Failed):
    """It will never leave; there is no use in another try."""


class Refused(Failed):
    """The other side refuses this one, or it can't be written down."""


class Later(Failed):
    """The other side puts this one off, or was lost in the middle of it. The next one may pass."""


class Down(Failed):
    """Nothing can leave at present: no connection, no TLS, a wrong certificate, a refused sign-in, a full disk."""
