"""What requests and answers are made of: the base classes and the field types that several resources share."""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from flask import Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from domain import addresses, limits
from domain.lists import Window

T = TypeVar("T")
JSON, FORM, MULTIPART = "application/json", "application/x-www-form-urlencoded", "multipart/form-data"


class Body(BaseModel):
    """What a client sends. Unknown fields are refused; `media_types` are those that it comes in, `max_bytes` as a form."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    media_types: ClassVar[tuple[str, ...]] = (JSON,)
    max_bytes: ClassVar[int] = limits.BODY_BYTES
    guesses: ClassVar[bool] = False  # Whether it holds a secret that a stranger may be trying out (`domain/captcha.py`).


class Query(BaseModel):
    """What stands behind the question mark. Other names are let be: providers and mail tools add some of their own.

    The fields of `as_sent` may hold any character: the domain judges them before anything else.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)
    as_sent: ClassVar[frozenset[str]] = frozenset()


class ListQuery(Query):
    """Which part of a list by cursor is asked for."""

    limit: Annotated[int, Field(ge=1, le=limits.MOST_LIST_ROWS)] = limits.LIST_ROWS
    cursor: Annotated[str | None, Field(max_length=128, description="The `next_cursor` of the part before.")] = None

    @property
    def window(self) -> Window:
        """The same for the domain."""
        return Window(self.limit, self.cursor)


class Out(BaseModel):
    """What a client gets: JSON, or where `page` names a template and HTML is asked for, that page."""

    model_config = ConfigDict(frozen=True)
    http_status: ClassVar[int] = 200
    media_type: ClassVar[str] = JSON
    page: ClassVar[str | None] = None
    private: ClassVar[bool] = True  # Holds a token, a code or personal data: Cache-Control: no-store.

    def encoded(self) -> str:
        """This answer as JSON."""
        return self.model_dump_json()

    def finish(self, response: Response) -> None:
        """Set what does not stand in the body, such as cookies."""


class Page(Out):
    """An answer that is a page for everybody, with its form."""

    private: ClassVar[bool] = False


class Text(Out):
    """An answer that is written already, and holds nothing personal."""

    private: ClassVar[bool] = False
    text: str

    def encoded(self) -> str:
        """As it stands."""
        return self.text


class Done(Out):
    """Says what happened."""

    status: str
    private: ClassVar[bool] = False


class Accepted(Done):
    """The request was taken, and the answer tells nothing else."""

    http_status: ClassVar[int] = 202
    status: Literal["accepted"] = "accepted"


def _refuse_null(value: Any) -> Any:
    if value is None:
        raise PydanticCustomError("null", "Must not be null; leave the field out instead")
    return value


def _email(value: str) -> str:
    try:
        return addresses.canonical(value)
    except ValueError as error:
        raise PydanticCustomError("email", "This {reason}", {"reason": str(error)}) from None


def _moment(value: datetime) -> datetime:
    try:
        return max(value.astimezone(UTC), datetime(1970, 1, 1, tzinfo=UTC))
    except OverflowError:
        raise PydanticCustomError("moment", "This is beyond the end of the calendar") from None


def _username(value: str) -> str:
    try:
        return addresses.canonical_username(value)
    except ValueError as error:
        raise PydanticCustomError("username", "This {reason}", {"reason": str(error)}) from None


# A field that may be left out, and is not null when it is there.
Given = Annotated[T | SkipJsonSchema[None], BeforeValidator(_refuse_null)]
Email = Annotated[str, Field(max_length=320, examples=["ann@example.com"], json_schema_extra={"format": "email"}), AfterValidator(_email)]
Username = Annotated[str, Field(max_length=64, examples=["ann"]), AfterValidator(_username)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), Field(examples=["Ann"])]
Label = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9_.-]{1,64}$"), Field(examples=["billing"])
]  # What services and roles are called in tokens.
Description = Annotated[str, StringConstraints(max_length=500), Field(examples=["What it is for."])]
Password = Annotated[SecretStr, Field(max_length=4096, examples=["a long enough password"])]
Code = Annotated[str, StringConstraints(min_length=1, max_length=64), Field(examples=["123456"])]
Method = Annotated[str, StringConstraints(min_length=1, max_length=64), Field(examples=["totp"])]
Cookies = Annotated[bool, Field(examples=[False], description="Whether the tokens are set as cookies.")]
Moment = Annotated[AwareDatetime, AfterValidator(_moment)]  # RFC 3339, as UTC.
Token = Annotated[str, StringConstraints(min_length=1, max_length=512)]

Captcha = Annotated[
    str,
    StringConstraints(min_length=1, max_length=limits.CAPTCHA_ANSWER),
    Field(description="What the CAPTCHA's widget gave, where one is asked for (GET /captcha)."),
]


class Asked(Body):
    """What a stranger sends who may have to show that they are a person."""

    captcha: Given[Captcha] = None


class Proof(Body):
    """No field is needed; on an account without a second factor the password stands for a recent sign-in."""

    current_password: Given[Password] = None
