"""What requests and answers are made of: the base classes and the field types that several resources share."""

from typing import Annotated, Any, ClassVar, Literal, TypeVar

from flask import Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from domain import addresses, limits

T = TypeVar("T")
JSON, FORM, MULTIPART = "application/json", "application/x-www-form-urlencoded", "multipart/form-data"


class Body(BaseModel):
    """What a client sends. Unknown fields are refused; `media_types` are those that it comes in, `max_bytes` as a form."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    media_types: ClassVar[tuple[str, ...]] = (JSON,)
    max_bytes: ClassVar[int] = limits.BODY_BYTES


class Query(BaseModel):
    """What stands behind the question mark. Other names are let be: providers and mail tools add some of their own.

    The fields of `as_sent` may hold any character: the domain judges them before anything else.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)
    as_sent: ClassVar[frozenset[str]] = frozenset()


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
Password = Annotated[SecretStr, Field(max_length=4096, examples=["a long enough password"])]
Code = Annotated[str, StringConstraints(min_length=1, max_length=64), Field(examples=["123456"])]
Method = Annotated[str, StringConstraints(min_length=1, max_length=64), Field(examples=["totp"])]
Cookies = Annotated[bool, Field(examples=[False], description="Whether the tokens are set as cookies.")]
Token = Annotated[str, StringConstraints(min_length=1, max_length=512)]
