import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from ml_project.errors import InvalidInput
from pipelines.data.ingest import content_digest, ingest, read_ingested, write_ingested
from tests.support.creditcard import CREDITCARD

ROOT = Path(__file__).resolve().parents[4]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def run(data, output, **kwargs):
    return ingest(str(data), output, CREDITCARD, cache=output.parent, on_notice=[].append, **kwargs)


def test_head_of_the_original_file(tmp_path, real_head_path):
    done = run(real_head_path, tmp_path / "data" / "out.parquet")
    frame, meta = read_ingested(done.path, CREDITCARD)
    assert meta == done.meta
    assert (meta.source, meta.name) == ("file", str(real_head_path))
    assert (meta.cleaning.rows_in, meta.cleaning.rows_out) == (7_972, 7_933)
    assert (meta.cleaning.duplicates_dropped, meta.cleaning.frauds) == (39, 25)
    assert list(frame.columns) == list(CREDITCARD.clean_columns)
    assert names(tmp_path / "data") == ["out.parquet"]


def test_metadata_stand_under_one_key(tmp_path):
    done = run("simulated", tmp_path / "out.parquet", simulated_rows=1_000, seed=4)
    note = json.loads(pq.read_schema(done.path).metadata[b"fraud.ingest"])
    assert note["source"] == "simulated"
    assert note["name"] == "simulated (1,000 rows, seed 4)"
    assert note["digest"] == done.meta.digest
    assert note["cleaning"]["rows_out"] == 1_000


def test_digest_is_that_of_the_content_however_stored(tmp_path, simulated_frame):
    simulated_frame.to_csv(tmp_path / "a.csv", index=False)
    simulated_frame.to_csv(tmp_path / "a.csv.gz", index=False)
    simulated_frame.to_parquet(tmp_path / "a.parquet", compression="gzip", row_group_size=100)
    simulated_frame.assign(Weight=1.0).iloc[:, ::-1].to_parquet(tmp_path / "b.parquet")
    names = ("a.csv", "a.csv.gz", "a.parquet", "b.parquet")
    digests = {run(tmp_path / name, tmp_path / "out.parquet").meta.digest for name in names}
    assert len(digests) == 1
    simulated_frame.assign(V1=np.nextafter(simulated_frame["V1"], 100)).to_parquet(tmp_path / "c.parquet")
    assert run(tmp_path / "c.parquet", tmp_path / "out.parquet").meta.digest not in digests


def test_event_time_survives_and_counts(tmp_path, simulated_frame):
    times = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(simulated_frame["Time"], unit="s")
    simulated_frame.assign(event_time=times).to_csv(tmp_path / "a.csv", index=False)
    simulated_frame.assign(event_time=times).to_parquet(tmp_path / "a.parquet")
    from_csv = run(tmp_path / "a.csv", tmp_path / "out.parquet").meta
    from_parquet = run(tmp_path / "a.parquet", tmp_path / "out.parquet").meta
    assert from_csv.digest == from_parquet.digest
    frame, _ = read_ingested(tmp_path / "out.parquet", CREDITCARD)
    assert frame["event_time"].tolist() == times.tolist()


def test_digest_knows_names_types_and_values():
    table = pd.DataFrame({"a": [0.0, 1.0], "b": [1, 2]})
    digest = content_digest(table)
    assert content_digest(pd.DataFrame({"a": [-0.0, 1.0], "b": [1, 2]})) == digest
    for other in (
        table.rename(columns={"a": "c"}),
        table.astype({"b": "float64"}),
        table.iloc[::-1],
        table[["b", "a"]],
        table.assign(b=[1, 3]),
    ):
        assert content_digest(other) != digest


def test_bad_input_leaves_the_earlier_file_alone(tmp_path, simulated_frame):
    output = tmp_path / "data" / "out.parquet"
    run("simulated", output, simulated_rows=1_000)
    before = output.read_bytes()
    simulated_frame.astype(object).replace({"Class": {0: "no"}}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InvalidInput, match=r"a\.csv: column Class, row 1 \(line 2\): 'no' is not a number"):
        run(tmp_path / "a.csv", output)
    assert output.read_bytes() == before
    assert names(output.parent) == ["out.parquet"]


def test_missing_values_as_configured(tmp_path, simulated_frame):
    simulated_frame.loc[4, "V9"] = np.nan
    simulated_frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InvalidInput, match=r"column V9, row 5 \(line 6\): the value is missing"):
        run(tmp_path / "a.csv", tmp_path / "out.parquet")
    assert run(tmp_path / "a.csv", tmp_path / "out.parquet", missing="impute").meta.cleaning.missing_imputed == {
        "V9": 1
    }


def test_ctrl_c_while_writing_leaves_nothing(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from stores.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'), file.flush(), print('written', flush=True), time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "out.parquet")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as writer:
        writer.stdout.readline()
        assert [name for name in names(tmp_path) if not name.endswith(".partial")] == []
        writer.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in writer.communicate(timeout=60)[1]
    assert names(tmp_path) == []


def test_output_that_cannot_be_written(tmp_path, simulated_frame):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="cannot be written"):
        run("simulated", tmp_path / "file" / "out.parquet", simulated_rows=1_000)
    with pytest.raises(InvalidInput, match="cannot be written"):
        run("simulated", tmp_path, simulated_rows=1_000)


def test_only_our_own_files_are_read_back(tmp_path, simulated_frame):
    with pytest.raises(InvalidInput, match=r"no ingested data\. Run ingest first"):
        read_ingested(tmp_path / "none.parquet", CREDITCARD)
    simulated_frame.to_parquet(tmp_path / "foreign.parquet")
    with pytest.raises(InvalidInput, match=r"has not written.*Run ingest first"):
        read_ingested(tmp_path / "foreign.parquet", CREDITCARD)
    done = run("simulated", tmp_path / "out.parquet", simulated_rows=1_000)
    frame, meta = read_ingested(done.path, CREDITCARD)
    frame.loc[0, "Amount"] += 1
    write_ingested(frame, meta, done.path)
    with pytest.raises(InvalidInput, match="has changed since"):
        read_ingested(done.path, CREDITCARD)
    done.path.write_bytes(done.path.read_bytes()[:-50])
    with pytest.raises(InvalidInput, match="not a complete Parquet file"):
        read_ingested(done.path, CREDITCARD)
