import json
import logging
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml_project.errors import Unavailable
from stores.decisions import Chunk, DecisionRecord, DecisionStore, Replayed, Spool, SpoolFull
from stores.decisions.spool import SetAside
from stores.decisions.spool_format import (
    Damage,
    decode,
    encode,
    framed,
    mark_of,
    new_name,
    read_records,
    write_contract,
)
from tests.support.creditcard import KEPT

Make = Callable[..., DecisionRecord]


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("*.spool2")
    return path


def size_of(record: DecisionRecord) -> int:
    """Of a record in a file."""
    return len(framed(encode(record), bytes(8)))


def test_what_comes_back_is_what_went_in(make_record: Make, make_chunk: Callable[..., Chunk], tmp_path: Path) -> None:
    record = make_record(
        inputs=tuple(1 / (i + 3) for i in range(30)),
        transaction_id="t ✓",
        event_time=datetime(2026, 1, 2, tzinfo=UTC),
        reasons=[{"feature": "V1"}],
    )
    write_contract(tmp_path, KEPT)
    assert decode(encode(record), tmp_path) == record
    times = [None, datetime(2026, 5, 1, tzinfo=UTC)] * 5
    chunk = make_chunk(
        rows=10, transaction_ids=["a", *[None] * 9], event_times=times, sample=frozenset({2}), sample_rate=0.5
    )
    back = decode(encode(chunk), tmp_path)
    assert isinstance(back, Chunk)
    assert back.content == chunk.content
    assert (back.shared, back.sample, back.sample_rate) == (chunk.shared, frozenset({2}), 0.5)
    assert back.prediction_ids == chunk.prediction_ids
    assert back.digests == chunk.digests


def test_replay_reconciles_duplicates(
    store: DecisionStore, make_record: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path / "spool")
    first = make_record(1.0, transaction_id="t")
    committed, same, other, plain = (
        make_record(5.0, transaction_id="u"),
        make_record(1.0, transaction_id="t"),
        make_record(2.0, transaction_id="t"),
        make_record(),
    )
    twins = [make_record(7.0, transaction_id="v") for _ in range(2)]
    store.add([first, committed])
    spool.append([committed, same, other])
    spool.append([plain, *twins])
    assert spool.size() > 0
    with caplog.at_level(logging.INFO):
        assert spool.replay(store) == Replayed(added=5, skipped=1, duplicates=2, conflicts=1)
    assert "conflicts=1" in caplog.text
    assert spool.size() == 0
    marks = {}
    for record in (first, committed, same, other, plain, *twins):
        found = store.find(record.prediction_id)
        assert found is not None
        assert found.record == record
        marks[record.prediction_id] = found.spooled, found.duplicate_of, found.conflicts_with
    assert list(marks.values()) == [
        (False, None, None),
        (False, None, None),
        (True, first.prediction_id, None),
        (True, None, first.prediction_id),
        (True, None, None),
        (True, None, None),
        (True, twins[0].prediction_id, None),
    ]
    found = store.find_transaction("t")
    assert found is not None
    assert found.record == first


def test_chunks_are_replayed_once(store: DecisionStore, make_chunk: Callable[..., Chunk], tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    there, new = (make_chunk(transaction_ids=[f"t{row}" for row in range(100)]) for _ in range(2))
    store.add_segment(there)
    spool.append([there])
    spool.append([new])
    assert spool.replay(store) == Replayed(added=100, skipped=100, conflicts=100)
    found = store.find(new.prediction_ids[9])
    assert found is not None
    assert (found.spooled, found.conflicts_with) == (True, there.prediction_ids[9])
    assert found.record.inputs == tuple(new.raw[9].tolist())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(left=st.floats(0, 1, exclude_max=True), zeros=st.sampled_from([0, 4, 100]))
def test_a_torn_record_is_cut_off_and_earlier_ones_are_kept(
    sqlite_store: DecisionStore,
    make_record: Make,
    tmp_path_factory: pytest.TempPathFactory,
    left: float,
    zeros: int,
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    records = [make_record() for _ in range(3)]
    spool = Spool(folder)
    spool.append(records)
    spool.close()
    path = only_file(folder)
    whole = path.read_bytes()
    start = len(whole) - size_of(records[2])
    cut = start + int(left * size_of(records[2]))
    path.write_bytes(whole[:cut] + bytes(zeros if cut == start else 0))
    assert Spool(folder).replay(sqlite_store).added == 2
    assert list(folder.glob("*spool*")) == []
    assert [sqlite_store.find(record.prediction_id) is not None for record in records] == [True, True, False]


def spoilt(spool: Spool, records: list[DecisionRecord], spoil: Callable[[bytearray], None]) -> Path:
    """The file of some records, with damage in it."""
    spool.append(records)
    spool.close()
    path = only_file(spool.folder)
    content = bytearray(path.read_bytes())
    spoil(content)
    path.write_bytes(content)
    return path


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_costs_one_record_and_is_seen(
    sqlite_store: DecisionStore,
    make_record: Make,
    tmp_path_factory: pytest.TempPathFactory,
    where: float,
    bit: int,
) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool"))
    records = [make_record() for _ in range(4)]

    def flip(content: bytearray) -> None:
        content[int(where * len(content))] ^= 1 << bit

    path = spoilt(spool, records, flip)
    assert spool.replay(sqlite_store).added == 3
    assert spool.set_aside() == SetAside(damaged=1, unreadable=0)
    assert [kept.name for kept in spool.folder.glob("*spool*")] == [path.name + ".damaged"]


def test_every_bit_of_a_frame_is_checked() -> None:
    """A wrong length must not swallow what stands behind it."""
    path = Path(new_name())
    parts = [framed(content, mark_of(path)) for content in (b"first", b"second", b"third")]
    for bit in range((len(parts[1]) - len(b"second")) * 8):
        content = bytearray(b"".join(parts))
        content[len(parts[0]) + bit // 8] ^= 1 << bit % 8
        damage = Damage(len(parts[0]), len(parts[0]) + len(parts[1]))
        assert list(read_records(content, path)) == [b"first", damage, b"third"], bit


def test_a_lost_block_costs_what_was_in_it(
    sqlite_store: DecisionStore, make_record: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = [make_record() for _ in range(30)]
    size = size_of(records[0])

    def zero(content: bytearray) -> None:
        content[10 * size + 5 : 13 * size + 5] = bytes(3 * size)

    path = spoilt(Spool(tmp_path), records, zero)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Spool(tmp_path).replay(sqlite_store).added == 26
    assert "is damaged in 1 places" in caplog.text


def test_what_a_client_sends_is_no_record(sqlite_store: DecisionStore, make_record: Make, tmp_path: Path) -> None:
    """A whole record with another mark than the file's: a client cannot know that one."""
    forged = make_record()

    def spoil(content: bytearray) -> None:
        content[:0] = framed(encode(forged), bytes(8))

    spoilt(Spool(tmp_path), [make_record()], spoil)
    assert Spool(tmp_path).replay(sqlite_store).added == 1
    assert sqlite_store.find(forged.prediction_id) is None
    assert Spool(tmp_path).set_aside().damaged == 1


def test_what_a_newer_release_wrote_waits_for_it(
    sqlite_store: DecisionStore, make_record: Make, tmp_path: Path
) -> None:
    folder = tmp_path / "spool"
    write_contract(folder, KEPT)
    record, later = make_record(), make_record()
    values = json.loads(encode(record)[1:])
    newer = b"D" + json.dumps(values | {"country": "FR"}).encode()
    name = new_name()
    mark = mark_of(Path(name))
    (folder / name).write_bytes(b"".join(framed(part, mark) for part in (newer, b"Xnew", encode(later))))
    spool = Spool(folder)
    assert spool.replay(sqlite_store) == Replayed(added=1)
    assert spool.set_aside() == SetAside(damaged=0, unreadable=1)
    assert spool.size() == 0
    assert spool.replay(sqlite_store) == Replayed()
    # nothing of it is lost: the next gateway, which may be of the newer release, reads the same bytes
    spool.recall()
    path = only_file(folder)
    assert newer in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert spool.replay(sqlite_store) == Replayed()
    assert spool.set_aside().unreadable == 1


def test_what_the_database_refuses_holds_up_no_other(
    sqlite_store: DecisionStore, make_record: Make, tmp_path: Path
) -> None:
    spool = Spool(tmp_path)
    spool.append([make_record(), make_record(hybrid_score=float("nan")), make_record()])
    assert spool.replay(sqlite_store).added == 2
    assert spool.set_aside() == SetAside(damaged=0, unreadable=1)


def old_file(folder: Path, records: list[DecisionRecord]) -> Path:
    """As a release wrote it that knew no contracts."""
    contents = []
    for record in records:
        values = json.loads(encode(record)[1:])
        del values["contract"]
        contents.append(b"D" + json.dumps(values).encode())
    path = folder / "00000000000000000001-aaaaaaaa.spool"
    path.write_bytes(b"".join(struct.pack("<II", len(each), zlib.crc32(each)) + each for each in contents))
    return path


def test_a_file_of_an_earlier_release(sqlite_store: DecisionStore, make_record: Make, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    records = [make_record() for _ in range(3)]
    old_file(folder, records)
    spool = Spool(folder)
    assert spool.replay(sqlite_store).added == 3
    assert list(folder.iterdir()) == []
    path = old_file(folder, [make_record() for _ in range(3)])
    content = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", content)
    content[8 + first + 2] ^= 1  # the second one's length
    path.write_bytes(content)
    assert spool.replay(sqlite_store).added == 1
    assert spool.set_aside().damaged == 1


def test_a_file_stays_until_its_commit(make_record: Make, sqlite_store: DecisionStore, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    record = make_record()
    spool.append([record])
    database = tmp_path / "decisions.db"
    database.rename(tmp_path / "away.db")
    for _ in range(3):
        with pytest.raises(Unavailable):
            spool.replay(sqlite_store)
    later = make_record()
    spool.append([later])
    for _ in range(3):
        with pytest.raises(Unavailable):
            spool.replay(sqlite_store)
    assert spool.size() == size_of(record) + size_of(later)
    assert len(list(spool.folder.glob("*spool*"))) == 2  # no new one with every attempt
    (tmp_path / "away.db").rename(database)
    seen: list[int] = []
    assert spool.replay(sqlite_store, lambda: seen.append(spool.size())).added == 2
    assert seen == [size_of(record) + size_of(later), size_of(later)]


def test_limits_and_rotation(make_record: Make, sqlite_store: DecisionStore, tmp_path: Path) -> None:
    size = size_of(make_record())
    spool = Spool(tmp_path, max_bytes=5 * size, file_bytes=2 * size - 100)
    for _ in range(4):
        spool.append([make_record()])
    assert len(list(tmp_path.glob("*.spool2"))) == 2
    with pytest.raises(SpoolFull, match="would grow beyond") as caught:
        spool.append([make_record(), make_record()])
    assert caught.value.status == 503
    assert spool.replay(sqlite_store).added == 4
    spool.append([make_record()])
    spool.close()


def test_a_folder_that_cannot_be_written(make_record: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolFull, match="FRAUD_STATE_DIR"):
        Spool(tmp_path / "file" / "spool").append([make_record()])


def test_a_live_process_keeps_its_file(make_record: Make, sqlite_store: DecisionStore, tmp_path: Path) -> None:
    """Another one's file is replayed when it has died, not before."""
    code = (
        "import sys, pathlib; from stores.decisions import Spool; from stores.decisions.spool_format import decode\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "spool = Spool(folder); spool.append([decode(bytes.fromhex(sys.argv[2]), folder)])\n"
        "sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.read()"
    )
    record = make_record()
    write_contract(tmp_path, KEPT)
    command = [sys.executable, "-c", code, str(tmp_path), encode(record).hex()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        spool = Spool(tmp_path)
        assert spool.replay(sqlite_store) == Replayed()
        assert spool.size() > 0
        other.kill()
        other.wait()
    assert spool.replay(sqlite_store) == Replayed(added=1)
    assert spool.size() == 0
