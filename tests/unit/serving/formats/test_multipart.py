"""Forms, in pieces of any size."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_project.errors import FraudError
from serving.batch.upload import FormFile
from serving.errors import MalformedFile, UnsupportedMediaType


def form(**parts: tuple[str | None, bytes, str]) -> tuple[str, bytes]:
    request = httpx.Request("POST", "http://host", files=parts)
    return request.headers["content-type"], request.read()


def taken(content_type: str, body: bytes, size: int = 7) -> tuple[str, bytes]:
    parser = FormFile(content_type)
    content = b"".join(parser.feed(body[at : at + size]) for at in range(0, len(body), size))
    return parser.close(), content


@given(st.binary(max_size=300), st.integers(1, 400))
def test_the_files_bytes_come_out_as_they_are(content, size) -> None:
    header, body = form(note=(None, b"a remark", "text/plain"), file=("a.bin", content, "text/csv"))
    assert taken(header, body, size) == ("text/csv", content)


@pytest.mark.parametrize(
    ("name", "content_type", "media_type"),
    [
        ("a.csv", "application/vnd.ms-excel", "text/csv"),
        ("A.CSV", "application/octet-stream", "text/csv"),
        ("a", "text/csv; charset=utf-8", "text/csv"),
        ("a.csv", "application/json", "application/json"),
        ("a.parquet", "application/octet-stream", "application/vnd.apache.parquet"),
        ("a.arrows", "application/octet-stream", "application/vnd.apache.arrow.stream"),
    ],
)
def test_the_type_is_the_parts_own_or_told_by_its_name(name, content_type, media_type) -> None:
    assert taken(*form(file=(name, b"x", content_type))) == (media_type, b"x")


def test_files_of_other_types() -> None:
    with pytest.raises(UnsupportedMediaType):
        taken(*form(file=("a.xlsx", b"x", "application/octet-stream")))


def test_forms_that_hold_not_one_file() -> None:
    file = ("a.csv", b"x", "text/csv")
    with pytest.raises(MalformedFile, match="more than one"):
        taken(*form(one=file, two=file))
    with pytest.raises(MalformedFile, match="no file"):
        taken(*form(note=(None, b"x", "text/plain")))


def test_forms_that_are_cut_off_or_none() -> None:
    header, body = form(file=("a.csv", b"1,2,3", "text/csv"))
    for length in range(len(body) - 4):
        with pytest.raises(FraudError):
            taken(header, body[:length])
    with pytest.raises(MalformedFile, match="cannot be read"):
        taken(header, b"nonsense " * 10)
    with pytest.raises(MalformedFile, match="boundary"):
        FormFile("multipart/form-data")
