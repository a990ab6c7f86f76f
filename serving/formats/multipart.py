"""The one file of a form (RFC 7578), as browsers upload it, taken out of the body while that comes in."""

from pathlib import PurePath
from typing import Final

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from serving.accept import media_type_of
from serving.errors import MalformedFile, UnsupportedMediaType
from serving.formats import ARROW, CSV, JSON, MEDIA_TYPES, PARQUET

_SUFFIXES: Final = {
    ".json": JSON,
    ".csv": CSV,
    ".parquet": PARQUET,
    ".arrow": ARROW,
    ".arrows": ARROW,
}
"""Browsers know few types: many send a CSV as a spreadsheet and the rest as application/octet-stream."""


class FormFile:
    """Takes the body's parts, gives the file's.

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
            When it is no form, or has a second file.
        UnsupportedMediaType
            When the file is of no type that is read.
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
            "The form's file is of no type that is read.", f"Name it *{', *'.join(_SUFFIXES)}, or send its type."
        )
    return media_type
