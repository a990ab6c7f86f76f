"""``events forget``: a key goes from the database, the spool and exports; what else they hold stays."""

import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from ml_project.errors import InvalidInput, Unavailable
from pipelines.data import forget
from pipelines.data.forget import Forgetter, Found, personal_key
from pipelines.monitoring.window import Window
from pipelines.scoring.replay import exported_decisions
from pipelines.settings import PipelineSettings
from stores.decisions import DecisionRecord, DecisionStore, Holdings, Spool, open_store
from stores.decisions.event_plan import EventPlan, microseconds
from stores.key_hash import KeyHash
from stores.s3 import S3Objects
from tests.support.commands import Commands
from tests.support.creditcard import CREDITCARD
from tests.support.history import CONTRACT, HISTORY_OF_DAYS, decided, decided_together, history_table
from tests.support.machine import ROOT
from tests.support.processes import clean_environment
from tests.support.servers import S3Server

PLAN = EventPlan.of(CONTRACT)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
SECRET = "a secret of the bank"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def table() -> pd.DataFrame:
    """Keys that cannot be overlooked."""
    found = history_table(200, seed=8)
    shops = [None if shop is None else f"shop-{shop}" for shop in found["shop"]]
    return found.assign(card="card-" + found["card"], shop=pd.Series(shops, dtype=object))


def of_card(table: pd.DataFrame) -> int:
    return int((table["card"] == "card-a").sum())


@pytest.fixture
def settings(tmp_path: Path) -> PipelineSettings:
    (tmp_path / "history.yaml").write_text(HISTORY_OF_DAYS)
    return PipelineSettings(state_dir=tmp_path / "state", contract=str(tmp_path / "history.yaml"))


@pytest.fixture
def store(settings: PipelineSettings) -> Iterator[DecisionStore]:
    with open_store(settings.decisions_url) as opened:
        yield opened


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    return tmp_path / "exports"


@pytest.fixture
def kept(settings: PipelineSettings, store: DecisionStore, table: pd.DataFrame, exports: Path) -> pd.DataFrame:
    """A quarter is exported, one decided singly, one in bulk, and one is in the spool of a gateway that has ended."""
    old = [
        replace(each, received_at=LONG_AGO, prediction_id=f"old {place}")
        for place, each in enumerate(decided(table[:50]))
    ]
    store.add([replace(each, transaction_id=each.transaction_id and f"old {each.transaction_id}") for each in old])
    assert store.purge(CONTRACT, datetime(2021, 1, 1, tzinfo=UTC), exports).rows == 50
    store.add(decided(table[50:100]))
    store.add_segment(decided_together(table[100:150]))
    spool = Spool(settings.decision_spool)
    spool.append([decided_together(table[150:180], transaction_ids=None)])
    spool.append(late(table[180:]))
    spool.close()
    return table


def late(table: pd.DataFrame) -> list[DecisionRecord]:
    """Decisions with other names."""
    found = decided(table)
    return [replace(each, prediction_id=f"late {row}", transaction_id=None) for row, each in enumerate(found)]


@pytest.fixture
def run(commands: Commands, settings: PipelineSettings) -> Run:
    def command(*arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return commands.run("events", "forget", *arguments, environment=environment(settings, **more))

    return command


def environment(settings: PipelineSettings, **more: str) -> dict[str, str]:
    return clean_environment(FRAUD_STATE_DIR=str(settings.state_dir), FRAUD_CONTRACT=settings.contract, **more)


def files_with(text: str, *folders: Path) -> list[str]:
    """Names of files in which a text stands; of Parquet in any column."""
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in paths if text.encode() in path.read_bytes() or text in in_columns(path)]


def in_columns(path: Path) -> str:
    return str(pq.read_table(path).to_pydict()) if path.suffix == ".parquet" else ""


def test_a_key_goes_from_everywhere(
    run: Run, kept: pd.DataFrame, settings: PipelineSettings, exports: Path, store: DecisionStore
) -> None:
    card = "--key", "card=card-a", "--exports", str(exports)
    counts = [of_card(part) for part in (kept[50:150], kept[150:], kept[:50])]
    before = {path: path.read_bytes() for path in exports.iterdir()}

    looked = run(*card, "--dry-run")
    assert looked.returncode == 0, looked.stderr
    said = f"{counts[0]} decisions and {counts[1]} more in the spool, {counts[2]} exported ones in 1 files"
    assert f"card=card-a: {said}" in looked.stdout
    asked = run(*card)
    assert (asked.returncode, "Add --yes" in asked.stderr) == (2, True)
    assert {path: path.read_bytes() for path in exports.iterdir()} == before
    assert Spool(settings.decision_spool).size() > 0

    done = run(*card, "--yes", "--compact")
    assert done.returncode == 0, done.stderr
    assert f"card=card-a: erased {counts[0] + counts[1]} decisions, {counts[2]} exported ones in 1 files" in done.stdout
    assert files_with("card-a", settings.state_dir, exports) == []
    assert files_with("card-b", settings.state_dir, exports) != []
    assert Spool(settings.decision_spool).size() == 0
    cards = [card for each in store.tables(CONTRACT) for card in each["card"].to_pylist()]
    assert (len(cards), cards.count(None)) == (150, counts[0] + counts[1])

    again = run(*card, "--yes")
    assert again.returncode == 2
    assert "Nothing is kept of card=card-a." in again.stderr
    assert "a key that was erased before is not found either" in again.stderr


def test_on_a_terminal_it_asks(kept: pd.DataFrame, settings: PipelineSettings, store: DecisionStore) -> None:
    command = [sys.executable, "-m", "pipelines", "events", "forget", "--key", "card=card-a"]
    for answer, code, words in ((b"n\n", 1, "Nothing was erased."), (b"y\n", 0, "card=card-a: erased")):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(settings),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        os.close(theirs)
        os.write(ours, answer)
        said, _ = process.communicate(timeout=120)
        os.close(ours)
        assert (process.returncode, words in said) == (code, True), said
        assert "Erase this for good?" in said
        gone = store.forgetting(CONTRACT.contract, personal_key("card=card-a", CONTRACT, None)).held() == Holdings()
        assert gone == (code == 0)


def test_an_export_is_the_same_but_for_the_key(run: Run, kept: pd.DataFrame, exports: Path) -> None:
    [path] = exports.glob("decisions-*.parquet")
    before, described = pq.read_table(path), pq.read_metadata(path)
    assert run("--key", "card=card-a", "--exports", str(exports), "--yes").returncode == 0
    after = pq.read_table(path)
    assert after.schema.equals(before.schema, check_metadata=True)
    assert pq.read_metadata(path).num_row_groups == described.num_row_groups
    expected = before.to_pylist()
    for row in expected:
        row["card"] = None if row["card"] == "card-a" else row["card"]
    assert str(after.to_pylist()) == str(expected)
    window = Window(LONG_AGO, datetime(2030, 1, 1, tzinfo=UTC))
    assert sum(len(each) for each in exported_decisions(str(exports), CONTRACT, window, "")) == 50


def test_exports_in_s3(
    run: Run, kept: pd.DataFrame, exports: Path, s3_server: S3Server, s3_bucket: str, store: DecisionStore
) -> None:
    place = S3Objects(f"s3://{s3_bucket}/old", s3_server.url, setting="--to")
    for path in exports.iterdir():
        place.upload(path, path.name)
    location = f"s3://{s3_bucket}/old/"
    credentials = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    settings = {"FRAUD_S3_ENDPOINT_URL": s3_server.url, **credentials}
    done = run("--key", "card=card-a", "--exports", location, "--yes", **settings)
    assert done.returncode == 0, done.stderr
    assert f"{of_card(kept[:50])} exported ones in 1 files" in done.stdout
    [name] = [each for each in place.names() if each.startswith("decisions-")]
    with place.open(name) as file:
        assert "card-a" not in pq.read_table(file)["card"].to_pylist()
    assert sorted(place.names()) == sorted(path.name for path in exports.iterdir())


def test_killed_again_and_again_it_comes_to_an_end(
    commands: Commands, run: Run, kept: pd.DataFrame, settings: PipelineSettings, exports: Path, store: DecisionStore
) -> None:
    arguments = "events", "forget", "--key", "shop=shop-x", "--exports", str(exports), "--yes"
    for seconds in (0.0, 0.01, 0.02, 0.04, 0.08):
        command = commands.start(*arguments, environment=environment(settings))
        while command.poll() is None and "erase\n" not in command.output()[0]:
            time.sleep(0.002)
        time.sleep(seconds)
        command.kill()
        command.wait()
    last = run(*arguments[2:], "--compact")
    assert last.returncode in (0, 2), last.stderr  # 2 where the last but one came to its end
    assert personal(store, settings, exports, "shop=shop-x") == Found(Holdings())
    with Forgetter(settings, []) as forgetter:
        forgetter.erase([], compacted=True)
    assert files_with("shop-x", settings.state_dir) == []
    assert [name for name in files_with("shop-x", exports) if not name.startswith(".")] == []


def personal(store: DecisionStore, settings: PipelineSettings, exports: Path, given: str) -> Found:
    with Forgetter(settings, [str(exports)]) as forgetter:
        return forgetter.look(personal_key(given, CONTRACT, settings.key_hash))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--key", "cart=7"), ("no entity cart", "card, shop")),
        (("--key", "card"), ("'card' is not a key", "entity=key")),
        (("--key", "card="), ("is not a key",)),
        (("--key", f"card={'x' * 65}"), ("is not a key", "1 to 64 characters")),
        (("--key", "card=nobody"), ("Nothing is kept of card=nobody.", "FRAUD_KEY_SECRET")),
        (("--key", "card=card-a", "--exports", "no/such/folder"), ("no/such/folder",)),
    ],
)
def test_what_cannot_be_forgotten_is_said(
    run: Run, kept: pd.DataFrame, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    answered = run(*arguments, "--yes")
    assert answered.returncode == 2
    assert [word for word in words if word not in answered.stderr] == []
    assert "Traceback" not in answered.stderr


def test_one_that_is_known_goes_beside_one_that_is_not(
    run: Run, kept: pd.DataFrame, settings: PipelineSettings
) -> None:
    answered = run("--key", "card=card-a", "--key", "card=nobody", "--key", "card=card-b", "--yes", "--compact")
    assert answered.returncode == 2
    assert "Nothing is kept of card=nobody." in answered.stderr
    assert files_with("card-a", settings.state_dir) == files_with("card-b", settings.state_dir) == []


def test_a_contract_without_entities_has_nobody_to_forget() -> None:
    with pytest.raises(InvalidInput, match="no entity card"):
        personal_key("card=1", CREDITCARD, None)


def test_a_key_is_hashed_here_too_and_goes_from_before_the_secret_was_set(
    run: Run, settings: PipelineSettings, store: DecisionStore, table: pd.DataFrame
) -> None:
    keys = KeyHash(SECRET)
    later = table[100:].assign(**{name: keys.of_all(name, table[name].tolist())[100:] for name in CONTRACT.entities})
    store.add(decided(table[:100]))
    store.add_segment(decided_together(later))
    hashed = keys.of("card", "card-a")
    assert files_with(hashed, settings.state_dir) != []
    done = run("--key", "card=card-a", "--yes", "--compact", FRAUD_KEY_SECRET=SECRET)
    assert done.returncode == 0, done.stderr
    assert f"card=card-a: erased {of_card(table)} decisions" in done.stdout
    assert files_with("card-a", settings.state_dir) == files_with(hashed, settings.state_dir) == []


def test_a_key_given_as_its_hash_is_that_key() -> None:
    keys = KeyHash(SECRET)
    assert personal_key("card=card-a", CONTRACT, keys).forms == (keys.of("card", "card-a"), "card-a")
    assert personal_key(f"card={keys.of('card', 'card-a')}", CONTRACT, keys).forms == (keys.of("card", "card-a"),)
    assert personal_key("card=a=b", CONTRACT, None).forms == ("a=b",)


def test_what_a_gateway_spools_is_waited_for(
    settings: PipelineSettings, store: DecisionStore, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is its own as long as it lives; the gateway itself brings it into the database."""
    monkeypatch.setattr(forget, "_SPOOL_SECONDS", 0.5)
    store.add(decided(table[:50]))
    spool = Spool(settings.decision_spool)
    spool.append(late(table[50:100]))
    key = personal_key("card=card-a", CONTRACT, None)
    with Forgetter(settings, []) as forgetter:
        with pytest.raises(Unavailable, match="Nothing was erased: a gateway keeps decisions in"):
            forgetter.erase([key])
        assert forgetter.look(key).held.decisions == of_card(table[:50])
        monkeypatch.setattr(forget, "_SPOOL_SECONDS", 30.0)
        gateway = threading.Timer(0.5, lambda: spool.replay(store))
        gateway.start()
        [found] = forgetter.erase([key])
        gateway.join()
        assert found.held.decisions == of_card(table[:100])
        assert not forgetter.look(key).anything


def test_what_cannot_be_read_of_the_spool_is_named(
    settings: PipelineSettings, store: DecisionStore, table: pd.DataFrame
) -> None:
    store.add(decided(table[:50]))
    folder = settings.decision_spool
    folder.mkdir(parents=True)
    damaged = folder / "00000000000000000001-0011223344556677.spool2.damaged"
    damaged.write_bytes(b'torn "card-a" torn')
    key = personal_key("card=card-a", CONTRACT, None)
    with Forgetter(settings, []) as forgetter:
        assert forgetter.look(key).set_aside == (damaged,)
        with pytest.raises(InvalidInput, match=f"All is erased but for .*{damaged.name}"):
            forgetter.erase([key])
        assert forgetter.look(key) == Found(Holdings(), set_aside=(damaged,))


def test_past_transactions_without_a_decision_go_too(
    settings: PipelineSettings, store: DecisionStore, table: pd.DataFrame
) -> None:
    rows: list[dict[str, Any]] = table.to_dict("records")
    store.add_events(
        PLAN,
        [
            PLAN.event(f"history\x1f{row}", microseconds(each["at"].to_pydatetime()), each)
            for row, each in enumerate(rows)
        ],
    )
    key = personal_key("card=card-a", CONTRACT, None)
    with Forgetter(settings, []) as forgetter:
        assert forgetter.look(key) == Found(Holdings(past=of_card(table)))
        assert forgetter.erase([key]) == [Found(Holdings(past=of_card(table)))]
        assert not forgetter.look(key).anything
