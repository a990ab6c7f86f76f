"""Uploads: a batch's body, kept until it is answered.

Most clients read nothing before they have sent everything, and one bad row may stand at the end: the body is spooled,
to memory while it is small and to a nameless file beyond, and read from there as often as need be. The one file of a
browser's form (RFC 7578) is taken out of the body while that comes in.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, Final, cast

from anyio import to_thread
from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from serving.batch import ARROW, CSV, JSON, MEDIA_TYPES, MULTIPART, PARQUET
from serving.errors import MalformedFile, UnsupportedMediaType
from serving.http import limited_stream, media_type_of, refuse_encodings
from serving.large_bodies import SMALL_BYTES, Budget, Share, not_written
from serving.settings import GatewaySettings

_WRITE_BYTES, _WRITTEN_TO_WAITING = 1024**2, 16
"""Uploads in progress hold no more memory than a part of their room on the disk: the first writes are small."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A body's content and its type; its holder closes it."""

    file: BinaryIO
    media_type: str
    share: Share

    def close(self) -> None:
        """Free its memory or its room on the disk."""
        self.file.close()
        self.share.close()


async def receive_upload(request: Request, settings: GatewaySettings, budget: Budget) -> Upload:
    """Read the whole body; a budget has the room for those of all requests.

    Raises
    ------
    UnsupportedMediaType
        At once, for a type that is not supported.
    BodyTooLarge, MalformedFile, StorageFull, NoRoom
        As soon as that shows.
    """
    header = request.headers.get("content-type", "")
    media_type = media_type_of(header)
    if media_type not in (*MEDIA_TYPES, MULTIPART):
        readable = ", ".join((*MEDIA_TYPES, MULTIPART))
        raise UnsupportedMediaType("Batches cannot be read from this media type.", f"Send one of {readable}.")
    refuse_encodings(request, "Send it plain, or as Parquet.")
    form = FormFile(header) if media_type == MULTIPART else None
    limit = settings.max_body_bytes if media_type == JSON else settings.max_upload_bytes
    share = budget.share()
    async with _spool(settings.upload_spool, share) as file:
        waiting: list[bytes] = []
        size = written = 0
        async for part in limited_stream(request, limit):
            waiting.append(form.feed(part) if form else part)
            size += len(waiting[-1])
            if size >= max(SMALL_BYTES, min(_WRITE_BYTES, written // _WRITTEN_TO_WAITING)):
                share.grow(size)
                await to_thread.run_sync(_write, file, waiting)
                waiting, size, written = [], 0, written + size
        share.grow(size)
        await to_thread.run_sync(_write, file, waiting)
        return Upload(file, form.close() if form else media_type, share)


def _write(file: BinaryIO, parts: list[bytes]) -> None:
    try:
        file.writelines(parts)
        file.flush()
    except OSError as error:
        raise not_written(error) from error


@asynccontextmanager
async def _spool(folder: Path, share: Share) -> AsyncIterator[BinaryIO]:
    """A temporary file that stays open, and keeps its share, unless something fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(error) from error
    file = cast(BinaryIO, SpooledTemporaryFile(SMALL_BYTES, "w+b", dir=str(folder)))  # noqa: SIM115
    try:
        yield file
    except BaseException:
        with suppress(OSError):  # what could not be written is tried once more
            file.close()
        share.close()
        raise


_SUFFIXES: Final = {
    ".json": JSON,
    ".csv": CSV,
    ".parquet": PARQUET,
    ".arrow": ARROW,
    ".arrows": ARROW,
}
"""Browsers know few types: many send a CSV as a spreadsheet and the rest as application/octet-stream."""


_MOST_PARTS: Final = 16
"""A browser's form has one; each costs more than its bytes. The parser limits their headers."""


class FormFile:
    """Extracts the one file from the parts of a multipart body.

    Parameters
    ----------
    content_type : str
        The request's header, which names the boundary.

    Raises
    ------
    MalformedFile
        When it names none.
    """

    def __init__(self, content_type: str) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise MalformedFile("The form's Content-Type names no boundary.", "Let the client library set the header.")
        self.media_type = ""
        self._content: list[bytes] = []
        self._headers: dict[str, str] = {}
        self._name = self._value = b""
        self._in_file = self._complete = False
        self._parts = 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data,
                "on_end": self._end,
            },
        )

    def feed(self, part: bytes) -> bytes:
        """What the next part of the body holds of the file.

        Raises
        ------
        MalformedFile
            When it is not a form, or has a second file.
        UnsupportedMediaType
            When the file's type is not supported.
        """
        try:
            self._parser.write(part)
        except MultipartParseError as error:
            raise MalformedFile(f"The form cannot be read: {error}.", "Send multipart/form-data.") from None
        content, self._content = b"".join(self._content), []
        return content

    def close(self) -> str:
        """The file's media type, when the body has ended.

        Raises
        ------
        MalformedFile
            When the form is cut off or has no file.
        """
        if not self._complete:
            raise MalformedFile("The form is cut off.", "Send it again.")
        if not self.media_type:
            raise MalformedFile("The form has no file.", "Send one part with a file name.")
        return self.media_type

    def _begin(self) -> None:
        self._headers = {}
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise MalformedFile(f"The form has more than {_MOST_PARTS} parts.", "Send the file's alone.")

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name = self._value = b""

    def _headers_end(self) -> None:
        file_name = parse_options_header(self._headers.get("content-disposition"))[1].get(b"filename")
        self._in_file = file_name is not None
        if file_name is None:
            return
        if self.media_type:
            raise MalformedFile("The form has more than one file.", "Send them one by one.")
        self.media_type = _type_of(self._headers.get("content-type", ""), file_name.decode("latin-1"))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._content.append(data[start:end])

    def _end(self) -> None:
        self._complete = True


def _type_of(content_type: str, file_name: str) -> str:
    named = media_type_of(content_type)
    media_type = named if named in MEDIA_TYPES else _SUFFIXES.get(PurePath(file_name).suffix.lower())
    if media_type is None:
        raise UnsupportedMediaType(
            "The type of the form's file is not supported.", f"Name it *{', *'.join(_SUFFIXES)}, or send its type."
        )
    return media_type
