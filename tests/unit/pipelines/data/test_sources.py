import fcntl
import hashlib
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ml_project.cleaning import clean
from ml_project.contract_file import contract_named
from ml_project.errors import InvalidInput, Unavailable
from pipelines.data import kaggle
from pipelines.data.sources import read_source
from tests.support.creditcard import CREDITCARD
from tests.support.shop import CARDS as OTHER_CARDS
from tests.support.shop import SHOP

CARDS = contract_named("cards")

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


def names(folder):
    return sorted(path.name for path in folder.iterdir())


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
        read_source("auto", CREDITCARD, cache=cache, kaggle_command=client("bring"), on_notice=[].append)


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("refuse", "Kaggle's client failed with exit code 1: 403 - Forbidden."),
        ("nothing", "Kaggle's client did not download creditcard.csv."),
        ("hang", "Kaggle sent nothing for 0.5 seconds."),
    ],
)
def test_kaggle_out_of_reach(tmp_path, client, behaviour, message):
    with pytest.raises(Unavailable) as caught:
        read_source(
            "kaggle",
            CREDITCARD,
            cache=tmp_path,
            kaggle_timeout=0.5,
            kaggle_command=client(behaviour),
            on_notice=[].append,
        )
    assert caught.value.cause == message
    assert "--data simulated" in caught.value.remedy
    assert [name for name in names(tmp_path) if name.startswith(".kaggle")] == []


def test_client_is_ended_with_all_that_it_started(tmp_path, client):
    command = client("hang")
    with pytest.raises(Unavailable):
        kaggle.download(tmp_path / "cache", timeout=1, command=command)
    with Path(command[1]).open() as script:
        # The fake client and its child hold this lock while one of them lives; the kernel takes its time to end one.
        deadline = time.monotonic() + 60
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
        CREDITCARD,
        cache=tmp_path,
        simulated_rows=5_000,
        seed=3,
        kaggle_timeout=0.5,
        kaggle_command=client("hang"),
        on_notice=said.append,
    )
    assert (raw.source, raw.name, len(raw.frame)) == ("simulated", "simulated (5,000 rows, seed 3)", 5_000)
    assert said[-1].startswith("SIMULATED DATA")
    assert "5,000 rows" in said[-1]
    assert "Kaggle sent nothing for 0.5 seconds." in said[-1]


def test_auto_takes_the_cached_file(tmp_path, csv):
    cache = csv.rename(tmp_path / "creditcard.csv").parent
    digest = hashlib.sha256((cache / "creditcard.csv").read_bytes()).hexdigest()
    for data in ("auto", "kaggle"):
        raw = read_source(
            data, CREDITCARD, cache=cache, kaggle_sha256=digest, kaggle_command=("false",), on_notice=[].append
        )
        assert (raw.source, raw.name, len(raw.frame), raw.place_of(1)) == (
            "kaggle",
            "mlg-ulb/creditcardfraud",
            50,
            "line 2",
        )


def test_simulated_rows_depend_on_the_seed_alone(tmp_path):
    def rows(seed):
        return read_source(
            "simulated", CREDITCARD, cache=tmp_path, simulated_rows=2_000, seed=seed, on_notice=[].append
        ).frame

    np.testing.assert_array_equal(rows(1), rows(1))
    assert not np.array_equal(rows(1), rows(2))


def test_the_simulator_is_the_contracts(tmp_path):
    said = []
    raw = read_source("auto", CARDS, cache=tmp_path, simulated_rows=5_000, on_notice=said.append)
    assert (raw.source, raw.name) == ("simulated", "simulated (about 5,000 rows, seed 0)")
    assert "fields of the contract cards" in said[0]
    assert len(raw.frame) == pytest.approx(5_000, rel=0.3)
    table, report = clean(raw.frame, CARDS)
    assert (report.duplicates_dropped, report.rows_out) == (0, len(raw.frame))
    assert table["customer_count_30d"].max() > 1


@pytest.mark.parametrize(
    ("data", "contract", "said"),
    [
        ("kaggle", CARDS, "a table of the contract creditcard, not of cards."),
        ("auto", SHOP, "not of shop; transactions are simulated for creditcard and cards as they come"),
        ("simulated", OTHER_CARDS, "not of cards; transactions are simulated for creditcard and cards as they come"),
    ],
)
def test_a_contract_without_a_simulator_needs_a_file(tmp_path, data, contract, said):
    with pytest.raises(InvalidInput, match=said) as caught:
        read_source(data, contract, cache=tmp_path, on_notice=[].append)
    assert "--data PATH" in caught.value.remedy
