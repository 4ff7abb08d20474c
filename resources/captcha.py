"""How a page asks its visitor to show that they are a person, where CAPTCHA is on."""

from typing import Literal

from domain import captcha
from resources.base import Resource
from resources.shapes import Out


class PuzzleOut(Out):
    """A proof of work, as ALTCHA's widget takes it; solved once, within CAPTCHA_SECONDS."""

    provider: Literal["altcha"] = "altcha"
    parameters: dict[str, str | int]
    signature: str


class SiteKeyOut(Out):
    """The public key for the widget of the provider that verifies."""

    provider: Literal["siteverify"] = "siteverify"
    site_key: str


class Captcha(Resource):
    """What to ask with. The answer goes into the field `captcha` of what is refused with `captcha_required`."""

    def get(self) -> PuzzleOut | SiteKeyOut:
        """Get a proof of work, or the key for a provider's widget; 404 where CAPTCHA is off."""
        offered = captcha.offer()
        return SiteKeyOut(site_key=offered) if isinstance(offered, str) else PuzzleOut(**offered._asdict())
