from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_project.cleaning import CleaningReport, clean
from ml_project.dataset import Dataset, with_history
from ml_project.errors import InvalidInput
from ml_project.event_times import EventTimeBounds
from ml_project.split import split_by_time
from pipelines.data.ingest import IngestedMeta, content_digest
from pipelines.data.past_events import hashed_keys
from pipelines.monitoring.kept_decisions import UNLABELLED
from pipelines.retraining.dataset import Decided, build_training_data, read_decided
from stores.decisions import DecisionStore, migrate, open_engine
from stores.key_hash import KeyHash
from tests.support.creditcard import CREDITCARD, EVENT_TIME, LABEL, RAW_FEATURES, WEIGHT
from tests.support.decisions import DAY, chunk
from tests.support.history import CONTRACT, history_table
from tests.support.history import decided as records_of

END = DAY + timedelta(days=10)
BOUNDS = EventTimeBounds(datetime(2000, 1, 1, tzinfo=UTC), END + timedelta(days=1))


def decided(rows: int, seed: int = 1, **columns: Any) -> pd.DataFrame:
    """Decisions of ten days, unlabelled approvals unless ``columns`` say otherwise."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(rows, 30)), columns=list(RAW_FEATURES))
    frame["Time"], frame["Amount"] = np.arange(rows) * 60.0, np.abs(frame["Amount"])
    own = {"label": UNLABELLED, "alert": False, "review_rate": 0.0, WEIGHT: 1.0, **columns}
    return frame.assign(**{EVENT_TIME: pd.Timestamp(DAY) + pd.to_timedelta(np.linspace(0, 10, rows), unit="D"), **own})


@pytest.fixture
def base(simulated_frame: pd.DataFrame) -> tuple[pd.DataFrame, IngestedMeta]:
    """500 simulated rows of two days, about 50 of them frauds, without event times."""
    frame, report = clean(simulated_frame, CREDITCARD)
    return frame, IngestedMeta("file", "bank.csv", content_digest(frame), report, CREDITCARD.digest)


def test_base_data_end_where_decisions_begin(base: tuple[pd.DataFrame, IngestedMeta]) -> None:
    built = build_training_data(*base, CREDITCARD, Decided(decided(100, label=0)))
    assert built.base_until == DAY
    moments = built.frame[EVENT_TIME].reset_index(drop=True)
    assert moments.iloc[499] == pd.Timestamp(DAY)
    assert (moments.iloc[499] - moments.iloc[0]).total_seconds() == base[0]["Time"].iloc[-1] - base[0]["Time"].iloc[0]
    assert built.frame["Time"].iloc[:500].tolist() == base[0]["Time"].tolist()
    assert (built.sources.base_rows, built.sources.decided_rows, len(built.frame)) == (500, 100, 600)
    earlier = build_training_data(*base, CREDITCARD, Decided(decided(100, label=0)), DAY - timedelta(days=3))
    assert earlier.frame[EVENT_TIME].iloc[499] == pd.Timestamp(DAY - timedelta(days=3))


def test_base_data_with_event_times_keep_them(base: tuple[pd.DataFrame, IngestedMeta]) -> None:
    times = pd.Timestamp(DAY) + pd.to_timedelta(base[0]["Time"], unit="s")
    built = build_training_data(
        base[0].assign(**{EVENT_TIME: times}), base[1], CREDITCARD, Decided(decided(100, label=0)), END
    )
    assert built.base_until is None
    assert built.frame[EVENT_TIME].min() == pd.Timestamp(DAY)


def test_equal_sources_make_equal_data(base: tuple[pd.DataFrame, IngestedMeta]) -> None:
    one, two = (build_training_data(*base, CREDITCARD, Decided(decided(100, label=0))) for _ in range(2))
    assert one.meta.digest == two.meta.digest == content_digest(one.frame)
    label = np.where(np.arange(100) == 3, 1, 0)
    assert build_training_data(*base, CREDITCARD, Decided(decided(100, label=label))).meta.digest != one.meta.digest


def test_a_decision_without_a_label_is_legitimate_and_weighs_what_the_sample_says(
    base: tuple[pd.DataFrame, IngestedMeta],
) -> None:
    # of 100 sampled approvals 5 are frauds, of 900 others 5 are known
    label, rate = np.full(1_000, UNLABELLED), np.where(np.arange(1_000) % 10 == 0, 0.1, 0.0)
    label[np.arange(0, 50, 10)] = 1
    label[np.arange(1, 51, 10)] = 1
    built = build_training_data(*base, CREDITCARD, Decided(decided(1_000, label=label, review_rate=rate)), DAY)
    rows = built.frame[built.frame[EVENT_TIME] > pd.Timestamp(DAY)]
    assert built.sources.corrected_frauds == pytest.approx(50)
    assert built.sources.decided_unlabelled == 990
    assert rows[rows[LABEL] == 1][WEIGHT].unique() == pytest.approx(5.0)
    assert rows[rows[LABEL] == 0][WEIGHT].unique() == pytest.approx(950 / 990)


def test_no_transaction_stands_on_both_sides_of_the_split(base: tuple[pd.DataFrame, IngestedMeta]) -> None:
    """The gateway was sent the base data themselves: they are decisions now, and in no earlier part of the split."""
    frame, meta = base
    label = np.where(np.arange(500) % 2 == 0, 0, UNLABELLED)
    again = decided(500, label=label).assign(**{name: frame[name] for name in RAW_FEATURES})
    others = decided(500, seed=9).assign(**{LABEL: np.arange(500) % 10 == 0, WEIGHT: 1.0})
    more, _ = clean(pd.concat([frame, others[frame.columns].astype({LABEL: int})]), CREDITCARD)
    built = build_training_data(more, meta, CREDITCARD, Decided(again))
    assert (built.sources.base_again, built.sources.base_rows) == (500, 500)
    # where a reviewer spoke that counts, elsewhere what the base knows
    assert built.sources.decided_frauds == int(frame[LABEL][1::2].sum())
    split = split_by_time(Dataset.from_frame(built.frame, CREDITCARD))
    seen = {row.tobytes() for row in np.concatenate([split.train.raw, split.validation.raw])}
    assert not seen & {row.tobytes() for row in split.test.raw}
    assert split.train.moment[-1] < split.validation.moment[0] <= split.validation.moment[-1] < split.test.moment[0]


def test_without_decisions_there_is_nothing_to_learn(base: tuple[pd.DataFrame, IngestedMeta], tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/decisions.db")
    migrate(engine)
    with pytest.raises(InvalidInput, match="No decision is older than the label delay"):
        build_training_data(*base, CREDITCARD, read_decided(DecisionStore(engine), CREDITCARD, BOUNDS, END, seed=0))
    engine.dispose()


def test_decisions_that_cannot_be_placed_are_left_out_and_counted(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/decisions.db")
    migrate(engine)
    store = DecisionStore(engine)
    times = [DAY, datetime(1970, 1, 1, tzinfo=UTC), datetime(1, 1, 2, tzinfo=UTC), datetime(2261, 1, 1, tzinfo=UTC)]
    store.add_segment(chunk(4, event_times=times))
    kept = read_decided(store, CREDITCARD, BOUNDS, END, seed=0)
    assert (len(kept.rows), kept.misdated) == (1, 3)
    assert kept.rows[EVENT_TIME].tolist() == [pd.Timestamp(DAY)]
    engine.dispose()


def test_a_few_stray_times_do_not_move_the_base_data(base: tuple[pd.DataFrame, IngestedMeta]) -> None:
    rows = decided(1_000, label=0)
    rows.loc[:4, EVENT_TIME] = pd.Timestamp("2003-01-01", tz="UTC")
    built = build_training_data(*base, CREDITCARD, Decided(rows, misdated=7))
    assert built.base_until is not None
    assert DAY <= built.base_until < DAY + timedelta(days=1)
    assert built.sources.decided_misdated == 7


def test_decisions_with_hashed_keys_are_learnt_from_as_ever(tmp_path: Path) -> None:
    """Base data are read with the same hashes; what both hold is known to be one transaction."""
    table = with_history(history_table(120, seed=6), CONTRACT).assign(sampling_weight=1.0)
    base, given = table[:80], table[41::2]
    meta = IngestedMeta("file", "bank.csv", content_digest(base), CleaningReport(80, 80, 0, 0, {}, 0), CONTRACT.digest)
    built = []
    for name, key_hash in (("plain", None), ("hashed", KeyHash("a secret of the bank"))):
        engine = open_engine(f"sqlite:///{tmp_path}/{name}.db")
        migrate(engine)
        store = DecisionStore(engine)
        store.add(records_of(hashed_keys(given, CONTRACT, key_hash)))
        kept = read_decided(store, CONTRACT, BOUNDS, datetime(2026, 12, 31, tzinfo=UTC), seed=0)
        built.append(build_training_data(hashed_keys(base, CONTRACT, key_hash), meta, CONTRACT, kept))
        engine.dispose()
    plain, hashed = built
    assert plain.sources.base_again == 20
    assert plain.sources == hashed.sources
    pd.testing.assert_frame_equal(plain.frame, hashed.frame)
    assert set(hashed.frame.columns).isdisjoint(CONTRACT.entities)
