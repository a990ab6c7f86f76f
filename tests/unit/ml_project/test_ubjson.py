import json
import struct
from contextlib import suppress

import numpy as np
import pytest
import xgboost
from hypothesis import example, given
from hypothesis import strategies as st

from ml_project.bundle import Bundle
from ml_project.fitting import Fitted
from ml_project.ubjson import decode


def plain(value: object) -> object:
    """Arrays as lists, so that two decodings can be compared."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def test_it_reads_what_xgboost_reads(twin: Fitted):
    booster: xgboost.Booster = twin.ensemble.booster
    read, expected = plain(decode(bytes(booster.save_raw("ubj")))), json.loads(booster.save_raw("json"))
    trees = [value["learner"]["gradient_booster"]["model"].pop("trees") for value in (read, expected)]
    assert read == expected
    for ours, theirs in zip(*trees, strict=True):
        assert ours.keys() == theirs.keys()
        for name, column in theirs.items():
            if column and isinstance(column, list) and isinstance(column[0], float):
                np.testing.assert_allclose(ours[name], column, rtol=1e-6)  # JSON has fewer digits
            else:
                assert ours[name] == column


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"Z", None),
        (b"T", True),
        (b"i\xff", -1),
        (b"U\xff", 255),
        (b"d" + struct.pack(">f", 0.5), 0.5),
        (b"SU\x02\xc3\xa9", "é"),
        (b"[TF]", [True, False]),
        (b"[#U\x02TF", [True, False]),
        (b"[$I#U\x02\x00\x01\x00\x02", [1, 2]),
        (b"[$S#U\x01U\x01a", ["a"]),
        (b"{U\x01aTU\x01b[]}", {"a": True, "b": []}),
        (b"{#U\x01U\x01a[Z]", {"a": [None]}),
    ],
)
def test_every_form_of_the_specification(content: bytes, expected: object):
    assert plain(decode(content)) == expected


@given(st.binary(max_size=60))
@example(b"[" * 100)
@example(b"[$d#L\x7f\xff\xff\xff\xff\xff\xff\xff")
@example(b"[$i#l\xff\xff\xff\xff")
@example(b"[$d]")
@example(b"TT")
@example(b"SU\x01\xff")
def test_other_bytes_are_refused_or_read_but_nothing_else(content: bytes):
    with suppress(ValueError):  # any other error fails
        decode(content)


@given(st.data())
def test_a_booster_cut_off_anywhere_is_refused(bundle: Bundle, data: st.DataObject):
    end = data.draw(st.integers(0, len(bundle.booster) - 1))
    with pytest.raises(ValueError, match="UBJSON"):
        decode(bundle.booster[:end])
