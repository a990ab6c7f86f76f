"""Room for large bodies, JSON in pieces, and what of JSON is refused."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving import large_bodies
from serving.errors import BodyTooLarge, MalformedJson, NoRoom, StorageFull
from serving.http import MOST_NESTED, json_in
from serving.large_bodies import Budget, DiskBudget, json_array

SMALL = large_bodies.SMALL_BYTES


def test_a_share_takes_what_is_above_a_small_body_and_gives_it_back() -> None:
    budget = Budget(100)
    with budget.share() as one, budget.share() as other:
        one.grow(SMALL)
        one.grow(60)
        other.grow(SMALL + 40)
        with pytest.raises(NoRoom):
            other.grow(1)
        one.close()
        other.grow(60)
        with pytest.raises(NoRoom):
            one.grow(1)
    with budget.share() as last:
        last.grow(SMALL + 100)


def test_a_reserve_is_left_on_the_disk(tmp_path: Path) -> None:
    with DiskBudget(2**30, tmp_path, reserve=2**60).share() as share:
        share.grow(SMALL)
        with pytest.raises(StorageFull):
            share.grow(1)
    with DiskBudget(2**30, tmp_path, reserve=0).share() as share:
        share.grow(SMALL + 2**20)


def pieces(body: bytes, size: int) -> list[Any]:
    large_bodies.SMALL_BYTES, before = size, large_bodies.SMALL_BYTES  # type: ignore[misc]
    try:
        return [row for piece in json_array(body) for row in piece]
    finally:
        large_bodies.SMALL_BYTES = before  # type: ignore[misc]


_TRICKY = st.text('a"\\{}[],: \n\N{GRINNING FACE}', max_size=6)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | _TRICKY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TRICKY, inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(_VALUES, max_size=12), st.integers(1, 400), st.booleans())
def test_an_array_in_pieces_is_the_array(rows: list[Any], size: int, plain: bool) -> None:
    body = json.dumps(rows, ensure_ascii=plain).encode()
    try:
        assert pieces(body, size) == rows
    except BodyTooLarge:
        assert max(len(json.dumps(row, ensure_ascii=plain).encode()) for row in rows) >= size - 2


@given(
    st.lists(_VALUES, max_size=8),
    st.integers(0, 200),
    st.sampled_from([b"", b",", b'"', b"]", b"[", b"}", b"\\", b"[,", b",]"]),
    st.integers(1, 60),
)
@example([1, 2, 3], 3, b",", 2)
def test_what_is_no_json_as_a_whole_is_none_in_pieces(rows: list[Any], place: int, put: bytes, size: int) -> None:
    body = json.dumps(rows).encode()
    body = b"[" + body[1:][:place] + put + body[1:][place + 1 :]
    try:
        whole = json_in(body)
    except MalformedJson:
        with pytest.raises((MalformedJson, BodyTooLarge)):
            pieces(body, size)
    else:
        try:
            assert pieces(body, size) == whole
        except BodyTooLarge:
            assert len(body) > size


def test_a_row_without_end_is_not_parsed() -> None:
    for body in (b"[" * 200_000, b"[" + b"1" * 200_000, b'["' + b"," * 200_000, b"[{" + b'"a":1,' * 40_000):
        with pytest.raises(BodyTooLarge, match="Row 0 has more than 65536 bytes"):
            list(json_array(body))


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"a": 1, "a": 2}', "a"),
        (b'[{"b": "x"}, {"b": 1, "c": {"d": [], "d": 1}}]', "d"),
        (b'{"\\u0061": 1, "a": 1}', "a"),
    ],
)
def test_a_key_twice_is_refused(body: bytes, name: str) -> None:
    with pytest.raises(MalformedJson, match=f"'{name}' 2 times"):
        json_in(body)


@given(_VALUES)
def test_any_value_is_read(value: Any) -> None:
    assert json_in(json.dumps(value).encode()) == value
    assert json_in(b"\xef\xbb\xbf" + json.dumps(value, ensure_ascii=False).encode()) == value


LABELS = [json.dumps({"transaction_id": f"{number:060}", "label": 1}) for number in range(9_000)]
KIND = {"Content-Type": "application/json"}


def test_bodies_of_all_requests_share_a_room(serve, source) -> None:
    """0.8 MB fit, and twice as much does not."""
    meanwhile: list[httpx.Response] = []
    with serve(source, body_memory_bytes=1024**2) as running:

        def slowly() -> Iterator[bytes]:
            yield f"[{','.join(LABELS)}".encode()
            while running.app.state.gateway.bodies.left > 400_000:
                time.sleep(0.01)
            for labels in (LABELS, LABELS[:1]):
                content = f"[{','.join(labels)}]"
                meanwhile.append(running.client.post("/feedback", content=content, headers=KIND))
            yield b"]"

        with httpx.Client(base_url=running.client.base_url, timeout=60) as other:
            assert len(other.post("/feedback", content=slowly(), headers=KIND).json()) == 9_000
        refused, taken = meanwhile
        assert refused.status_code == 503
        assert "Too many large bodies" in refused.json()["detail"]
        assert refused.headers["retry-after"] == "5"
        assert taken.status_code == 200
        assert running.client.post("/feedback", content=f"[{','.join(LABELS)}]", headers=KIND).status_code == 200


def test_uploads_leave_room_on_the_disk(serve, source, scorer) -> None:
    source.promote(3, scorer)
    with serve(source, upload_reserve_bytes=2**60) as running:
        running.wait_for(3)
        for size, status in ((SMALL // 2, 422), (SMALL * 2, 507)):
            answer = running.client.post("/predict-batch", content=b"a" * size, headers={"Content-Type": "text/csv"})
            assert answer.status_code == status


@pytest.mark.parametrize("opened", [b"[", b'{"a":'])
def test_what_is_nested_deep_is_refused_before_it_is_parsed(opened: bytes) -> None:
    closed = b"]" if opened == b"[" else b"}"

    def nested(depth: int) -> bytes:
        return opened * depth + b"1" + closed * depth

    assert json_in(nested(MOST_NESTED)) is not None
    for body in (nested(MOST_NESTED + 1), b"[" + b",".join([nested(MOST_NESTED)] * 20) + b"]"):
        with pytest.raises(MalformedJson, match="nested more than 16 deep"):
            json_in(body)


def test_brackets_in_strings_are_not_nested() -> None:
    for text in ("[" * 100, '\\"' + "{" * 100, "[" * 50 + '"' + "[" * 50 + "\\"):
        assert json_in(json.dumps([{"text": text}] * 3).encode()) == [{"text": text}] * 3
