import fcntl
import gzip
import hashlib
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml_project.errors import InvalidInput, Unavailable
from pipelines.data import kaggle
from pipelines.data.files import read_table
from pipelines.data.sources import read_source

FAKE_CLIENT = """
import fcntl, os, pathlib, sys, time
behaviour, folder = sys.argv[1], pathlib.Path(sys.argv[2])
file = folder / "creditcard.csv"
if behaviour == "hang":
    lock = open(__file__)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.fork()
    time.sleep(60)
elif behaviour == "refuse":
    print("advice on accounts")
    sys.exit("first\\n403 - Forbidden.")
elif behaviour == "slow":
    for _ in range(8):
        with file.open("ab") as out:
            out.write(b"x")
        time.sleep(0.25)
elif behaviour == "bring":
    file.write_bytes(b"x" * 8)
"""
BROUGHT = hashlib.sha256(b"x" * 8).hexdigest()


@pytest.fixture
def client(tmp_path):
    script = tmp_path / "client.py"
    script.write_text(FAKE_CLIENT)
    return lambda behaviour: (sys.executable, str(script), behaviour)


@pytest.fixture
def csv(tmp_path, simulated_frame):
    """A small file in the original's form: header and Class quoted."""
    path = tmp_path / "book.csv"
    quoted = simulated_frame.head(50).assign(Class=simulated_frame["Class"].astype(str))
    quoted.to_csv(path, index=False, quoting=2)
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(location):
    with pytest.raises(InvalidInput) as caught:
        read_table(str(location))
    assert caught.value.remedy
    assert str(location) in caught.value.cause
    return caught.value.cause


def test_every_kind_of_file_gives_the_same_table(tmp_path, csv, simulated_frame):
    content = csv.read_bytes()
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(content))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/book.csv", content)
        archive.writestr("__MACOSX/in/._book.csv", b"shadow")
        archive.writestr("README.txt", b"about")
    expected = simulated_frame.head(50)
    expected.to_parquet(tmp_path / "a.parquet")
    folder = tmp_path / "folder"
    folder.mkdir()
    expected.iloc[:20].to_parquet(folder / "part-0.parquet")
    expected.iloc[20:].to_parquet(folder / "part-1.parquet")
    (folder / "_SUCCESS").touch()
    for name in (csv, tmp_path / "a.csv.gz", tmp_path / "a.zip", tmp_path / "a.parquet", folder):
        frame = read_table(str(name)).frame
        pd.testing.assert_frame_equal(frame, expected, check_dtype=False, check_exact=True)


def test_original_file_is_read_to_the_last_bit(real_head_path):
    table = read_table(str(real_head_path))
    exact = pd.read_csv(real_head_path, float_precision="round_trip")
    assert len(table.frame) == 7_972
    assert table.header_lines == 1
    pd.testing.assert_frame_equal(table.frame, exact, check_dtype=False, check_exact=True)


def test_missing_and_empty_files(tmp_path):
    assert "no such file" in refused(tmp_path / "none.csv")
    for name in ("a.csv", "a.parquet", "a.zip", "a.csv.gz"):
        (tmp_path / name).touch()
        assert "the file is empty" in refused(tmp_path / name)
    (tmp_path / "blank.csv").write_text("\n\n")
    assert "the file is empty" in refused(tmp_path / "blank.csv")
    (tmp_path / "folder").mkdir()
    assert "without Parquet files" in refused(tmp_path / "folder")


def test_truncated_files(tmp_path, csv, simulated_frame):
    simulated_frame.to_parquet(tmp_path / "whole.parquet")
    for name, content in (
        ("cut.parquet", (tmp_path / "whole.parquet").read_bytes()[:-100]),
        ("cut.csv.gz", gzip.compress(csv.read_bytes())[:-200]),
        ("cut.zip", b"PK\x03\x04 and no more"),
        ("text.csv.gz", b"not packed"),
    ):
        (tmp_path / name).write_bytes(content)
        cause = refused(tmp_path / name)
        assert "not a complete Parquet file" in cause or "damaged or incomplete archive" in cause
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "cut.parquet").rename(folder / "part-0.parquet")
    with pytest.raises(InvalidInput, match=r"part-0\.parquet: not a complete Parquet file"):
        read_table(str(folder))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Time,Größe\n1,2\n".encode("latin-1"), "not UTF-8 text (at byte 7)"),
        ("Time,V1\n1,2\n".encode("utf-16"), "not UTF-8 text (at byte 0)"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not UTF-8 text (at byte 0)"),
        (b"Time,V1\n1,2\n1,2,3\n", "not a table (Error tokenizing data. C error: Expected 2 fields in line 3, saw 3)"),
    ],
)
def test_text_that_is_no_table(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert message in refused(path)


def test_text_in_a_number_is_left_to_cleaning(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("Time,V1\n1,2\n2,abc\n")
    assert read_table(str(path)).frame["V1"].tolist() == ["2", "abc"]


@pytest.mark.parametrize("names", [[], ["a.csv", "b.csv"]])
def test_archives_must_hold_one_csv(tmp_path, names):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.txt", "")
        for name in names:
            archive.writestr(name, "Time\n1\n")
    assert ("2 CSV files in the archive" if names else "no CSV file in the archive") in refused(path)


def test_other_kinds_are_named(tmp_path):
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    assert "not a kind of file that is understood" in refused(tmp_path / "a.xlsx")
    assert "not supported" in refused("gs://bucket/a.parquet")


def test_download_reaches_the_cache_and_is_found_there(tmp_path, client):
    cache = tmp_path / "cache"
    path = kaggle.download(cache, timeout=5, command=client("bring"), sha256=BROUGHT)
    assert path == cache / "creditcard.csv"
    assert names(cache) == ["creditcard.csv"]
    assert kaggle.cached(cache, sha256=BROUGHT) == path


def test_slow_download_is_given_time_while_it_grows(tmp_path, client):
    path = kaggle.download(tmp_path / "cache", timeout=1, command=client("slow"), sha256=BROUGHT)
    assert path.read_bytes() == b"x" * 8


def test_wrong_content_is_refused_and_not_kept(tmp_path, client):
    cache = tmp_path / "cache"
    with pytest.raises(InvalidInput, match=r"SHA-256 .* not 76274b69"):
        kaggle.download(cache, timeout=5, command=client("bring"))
    assert names(cache) == []
    (cache / "creditcard.csv").write_bytes(b"cut")
    with pytest.raises(InvalidInput, match="Delete"):
        read_source("auto", cache=cache, kaggle_command=client("bring"), on_notice=[].append)


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("refuse", "Kaggle's client failed with exit code 1: 403 - Forbidden."),
        ("nothing", "Kaggle's client brought no creditcard.csv."),
        ("hang", "Kaggle sent nothing for 0.5 seconds."),
    ],
)
def test_kaggle_out_of_reach(tmp_path, client, behaviour, message):
    begun = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        read_source("kaggle", cache=tmp_path, kaggle_timeout=0.5, kaggle_command=client(behaviour), on_notice=[].append)
    assert caught.value.cause == message
    assert "--data simulated" in caught.value.remedy
    assert time.monotonic() - begun < 5
    assert [name for name in names(tmp_path) if name.startswith(".kaggle")] == []


def test_client_is_ended_with_all_that_it_started(tmp_path, client):
    command = client("hang")
    with pytest.raises(Unavailable):
        kaggle.download(tmp_path / "cache", timeout=1, command=command)
    with Path(command[1]).open() as script:
        # The fake client and its child hold this lock while one of them lives; the kernel takes its time to end one.
        deadline = time.monotonic() + 10
        while True:
            try:
                fcntl.flock(script, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                assert time.monotonic() < deadline, "the client's child lives on"
                time.sleep(0.05)


def test_auto_falls_back_to_the_simulator_and_says_so(tmp_path, client):
    said = []
    raw = read_source(
        "auto",
        cache=tmp_path,
        simulated_rows=5_000,
        seed=3,
        kaggle_timeout=0.5,
        kaggle_command=client("hang"),
        on_notice=said.append,
    )
    assert (raw.source, raw.name, len(raw.frame)) == ("simulated", "simulated (5000 rows, seed 3)", 5_000)
    assert said[-1].startswith("SIMULATED DATA")
    assert "5,000 rows" in said[-1]
    assert "Kaggle sent nothing for 0.5 seconds." in said[-1]


def test_auto_takes_the_cached_file(tmp_path, csv):
    cache = csv.rename(tmp_path / "creditcard.csv").parent
    digest = hashlib.sha256((cache / "creditcard.csv").read_bytes()).hexdigest()
    for data in ("auto", "kaggle"):
        raw = read_source(data, cache=cache, kaggle_sha256=digest, kaggle_command=("false",), on_notice=[].append)
        assert (raw.source, raw.name, len(raw.frame), raw.header_lines) == ("kaggle", "mlg-ulb/creditcardfraud", 50, 1)


def test_simulated_rows_depend_on_the_seed_alone(tmp_path):
    def rows(seed):
        return read_source("simulated", cache=tmp_path, simulated_rows=2_000, seed=seed, on_notice=[].append).frame

    np.testing.assert_array_equal(rows(1), rows(1))
    assert not np.array_equal(rows(1), rows(2))
