"""Tell an account's owner what happened to it, with a link for "this was not me". A notice is never capped or withheld."""

from sqlalchemy.orm import Session as Database

from domain import limits, mail, tickets
from domain.caller import Client
from model import User


def send(db: Database, user: User, template: str, client: Client, **values: str | None) -> None:
    """Mail a notice to the account's address, in the act's own transaction."""
    token = tickets.make_link(db, tickets.NOT_ME, user.email, limits.REMEDY_SECONDS, user_id=user.id)
    said = {**values, **mail.circumstances(client), "not_me": mail.link(f"/not-me/{token}")}
    mail.send(db, template, user.email, said, locale=user.locale)
