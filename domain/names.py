"""Acts that give something a name which nothing else of its kind may have: services, roles, permissions."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Database

from domain.database import transaction
from domain.errors import NameTaken


@contextmanager
def naming() -> Iterator[Database]:
    """A transaction that ends in `NameTaken`, with nothing done, where the database says that the name is there already.

    Whoever adds something to a row that may go meanwhile holds that row, so that a name is all that can be in the way.
    """
    try:
        with transaction() as db:
            yield db
    except IntegrityError:
        raise NameTaken from None
