"""The profile: read it, change it, and the picture that goes with it."""

from typing import Annotated, Any, ClassVar

from flask import Response, request
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from domain import cards, limits, pictures, profiles
from domain.caller import Caller
from domain.errors import Refused
from resources import reading, users
from resources.base import Resource
from resources.shapes import MULTIPART, Body, Name, Username
from resources.users import UserOut

YEAR_SECONDS = 31_536_000


def _timezone(value: str) -> str:
    if not profiles.is_timezone(value):
        raise PydanticCustomError("timezone", "This is not a zone of the IANA database, such as Europe/Vienna")
    return value


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    try:
        profiles.check_metadata(value)
    except ValueError as error:
        raise PydanticCustomError("metadata", "This {reason}", {"reason": str(error)}) from None
    return value


def _file(value: Any) -> bytes | None:
    """The bytes of a file; None for what a browser sends where no file was chosen."""
    if not isinstance(value, FileStorage):
        raise PydanticCustomError("file", "This must be sent as a file")
    data = value.read(limits.PICTURE_BYTES + 1)
    if len(data) > limits.PICTURE_BYTES:
        raise RequestEntityTooLarge
    return data if data or value.filename else None


Phone = Annotated[
    str, StringConstraints(pattern=r"^\+?[0-9]( ?[0-9]){4,14}$", max_length=32), Field(examples=["+43 660 1234567"])
]  # ITU-T E.164, with spaces.
Bio = Annotated[str, StringConstraints(max_length=2000), Field(examples=["Keeps the gate."])]
Locale = Annotated[str, StringConstraints(pattern=profiles.LOCALE, max_length=35), Field(examples=["de-AT"])]
Timezone = Annotated[str, StringConstraints(max_length=64), Field(examples=["Europe/Vienna"]), AfterValidator(_timezone)]
Metadata = Annotated[dict[str, Any], Field(examples=[{"theme": "dark"}]), AfterValidator(_metadata)]
Picture = Annotated[bytes | None, BeforeValidator(_file), WithJsonSchema({"type": "string", "format": "binary"})]


class ProfileIn(Body):
    """What is to change: only the fields that are sent do, and null clears one."""

    name: Name | None = None
    username: Username | None = None
    phone: Phone | None = None
    bio: Bio | None = None
    locale: Locale | None = None
    timezone: Timezone | None = None
    metadata: Metadata | None = None

    def changes(self) -> dict[str, Any]:
        """The columns to change."""
        sent = self.model_dump(include=self.model_fields_set & ProfileIn.model_fields.keys())
        return {"extra" if field == "metadata" else field: value for field, value in sent.items()}


class ProfileForm(ProfileIn):
    """The same as a form, where an empty field clears and `metadata` is JSON in text; and a picture."""

    media_types: ClassVar[tuple[str, ...]] = (MULTIPART,)
    max_bytes: ClassVar[int] = limits.PICTURE_BYTES + limits.BODY_BYTES
    picture: Picture = None

    @field_validator(*ProfileIn.model_fields, mode="before")
    @classmethod
    def _empty_clears(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("metadata", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if not value or not isinstance(value, str):
            return value
        try:
            made = reading.parsed(value.encode())
        except Refused:
            raise PydanticCustomError("json", "This is not JSON") from None
        if not reading.is_storable(made):
            raise PydanticCustomError("invalid_text", "Holds a character that can't be stored.")
        return made


class ProfileOut(UserOut):
    """The whole profile, as its owner sees it."""

    phone: str | None
    bio: str | None
    locale: str | None
    timezone: str | None
    metadata: dict[str, Any] | None


class Profile(Resource):
    """The caller's profile."""

    def get(self, caller: Caller) -> ProfileOut:
        """Show it."""
        return _shown(cards.profile(caller))

    def put(self, body: ProfileIn | ProfileForm, caller: Caller) -> ProfileOut:
        """Change what is sent, as PATCH does."""
        return self.patch(body, caller)

    def patch(self, body: ProfileIn | ProfileForm, caller: Caller) -> ProfileOut:
        """Change what is sent, all of it or nothing."""
        picture = body.picture if isinstance(body, ProfileForm) else None
        return _shown(profiles.update(caller, body.changes(), picture))


class Me(Resource):
    """The same for clients of an earlier system."""

    def get(self, caller: Caller) -> ProfileOut:
        """Show it."""
        return _shown(cards.profile(caller))


class ProfilePicture(Resource):
    """The caller's picture."""

    def delete(self, caller: Caller) -> None:
        """Have none from now on."""
        profiles.remove_picture(caller)


class PictureFile(Resource):
    """A picture, for whoever has its address. What stands at an address never changes."""

    def get(self, name: str) -> Response:
        """The WebP file."""
        response = Response(pictures.read(name), mimetype="image/webp")
        response.set_etag(name)
        response.headers["Cache-Control"] = f"public, max-age={YEAR_SECONDS}, immutable"
        response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; sandbox"
        response.headers["Content-Disposition"] = f"inline; filename={name}"  # A name of ours, in letters that need no quotes.
        response.make_conditional(request)
        return response


def _shown(profile: cards.Profile) -> ProfileOut:
    more = {"phone": profile.phone, "bio": profile.bio, "locale": profile.locale, "timezone": profile.timezone}
    return ProfileOut(**users.shown(profile), **more, metadata=profile.extra)
