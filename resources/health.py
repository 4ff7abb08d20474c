"""Is the server alive, and can it work?"""

from typing import Literal

from domain import health
from resources.base import Resource
from resources.shapes import Done


class AliveOut(Done):
    """The process answers."""

    status: Literal["alive"] = "alive"


class ReadyOut(Done):
    """Every part that is needed is there."""

    status: Literal["ready"] = "ready"


class Alive(Resource):
    """Liveness: asks nothing of anybody."""

    def get(self) -> AliveOut:
        """Say so."""
        return AliveOut()


class Ready(Resource):
    """Readiness: database, Redis where it is configured, migrations."""

    def get(self) -> ReadyOut:
        """Say so, or refuse with what is away."""
        health.require()
        return ReadyOut()
