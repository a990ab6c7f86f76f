"""The step ``ingest``: from any source to one clean Parquet file that records where it came from."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from ml_project.cleaning import CleaningReport, clean, learnt_values
from ml_project.contract import Contract
from ml_project.errors import InvalidInput
from ml_project.event_times import NANOSECONDS, EventTimeBounds
from pipelines.data.files import MOST_BYTES
from pipelines.data.sources import Source, read_source
from stores.files import replacing, write_atomically

_KEY: Final = b"fraud.ingest"
_FORMAT: Final = 3
_META_FILE: Final = "_ingested.json"
_REMEDY: Final = "Run ingest first."
_AGAIN: Final = "Run ingest again."


@dataclass(frozen=True)
class IngestedMeta:
    """The description that an ingested file carries.

    Attributes
    ----------
    source : {'kaggle', 'simulated', 'file'}
        For the tag ``data.source``.
    name : str
        The data set, the simulator with its seed, or the path as given.
    digest : str
        SHA-256 of the content (see ``content_digest``).
    cleaning : CleaningReport
        What cleaning found and did.
    contract : str
        Digest of the contract that the data were read by.
    values : dict
        What categories learnt: see `cleaning.learnt_values`.
    """

    source: Source
    name: str
    digest: str
    cleaning: CleaningReport
    contract: str
    values: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def resolved(self, contract: Contract) -> Contract:
        """The contract that the data were read by, with the values that its categories learnt."""
        return contract.with_values(self.values)


@dataclass(frozen=True)
class IngestedFile:
    """Where the clean data are, and their description."""

    path: Path
    meta: IngestedMeta


def ingest(
    data: str,
    output: Path,
    contract: Contract,
    *,
    cache: Path,
    missing: Literal["reject", "impute"] = "reject",
    simulated_rows: int = 284_807,
    seed: int = 0,
    kaggle_timeout: float = 10.0,
    s3_endpoint_url: str = "",
    most_bytes: int = MOST_BYTES,
    bounds: EventTimeBounds = NANOSECONDS,
    values: Mapping[str, tuple[str, ...]] | None = None,
    on_notice: Callable[[str], None],
) -> IngestedFile:
    """Read the data that was asked for, clean them, and write them as one Parquet file, whole or not at all.

    Parameters
    ----------
    data, cache, simulated_rows, seed, kaggle_timeout, s3_endpoint_url, most_bytes, on_notice
        See ``sources.read_source``.
    contract : Contract
        What the columns are.
    output : Path
        The file to write; it replaces an earlier one only when all is well.
    missing : {'reject', 'impute'}
        What to do with missing values.
    bounds : EventTimeBounds
        The event times that are believed.
    values : mapping, optional
        What categories have learnt before, which they keep.

    Raises
    ------
    InvalidInput
        If the data cannot be used or the file cannot be written.
    Unavailable
        If Kaggle or S3 was asked for and cannot be reached.
    """
    raw = read_source(
        data,
        contract,
        cache=cache,
        simulated_rows=simulated_rows,
        seed=seed,
        kaggle_timeout=kaggle_timeout,
        s3_endpoint_url=s3_endpoint_url,
        most_bytes=most_bytes,
        on_notice=on_notice,
    )
    learnt = {**learnt_values(raw.frame, contract), **(values or {})}
    known = contract.with_values(learnt)
    frame, report = clean(raw.frame, known, missing, name=raw.name, place_of=raw.place_of, bounds=bounds)
    meta = IngestedMeta(raw.source, raw.name, content_digest(frame), report, contract.digest, learnt)
    write_ingested(frame, meta, output)
    return IngestedFile(output, meta)


def write_ingested(frame: pd.DataFrame, meta: IngestedMeta, output: Path) -> None:
    """Write a clean table with its description, atomically."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    note = _note(meta)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: note})
    if (output / _META_FILE).is_file():  # of an earlier `ingest --engine spark`
        shutil.rmtree(output)
    try:
        with replacing(output) as file:
            pa.parquet.write_table(table, file, compression="zstd")
    except OSError as error:
        raise InvalidInput(f"{output}: cannot be written ({error.strerror or error}).", "Check the folder.") from error


def write_meta(meta: IngestedMeta, folder: Path) -> None:
    """Write the description of a folder of clean Parquet files."""
    write_atomically(folder / _META_FILE, _note(meta))


def _note(meta: IngestedMeta) -> bytes:
    return json.dumps({"format": _FORMAT, **asdict(meta)}, sort_keys=True).encode()


def read_ingested(path: Path, contract: Contract) -> tuple[pd.DataFrame, IngestedMeta]:
    """Read back what ``ingest`` wrote.

    Raises
    ------
    InvalidInput
        If there is no such file, ``ingest`` has not written it by this contract, or its content does not match its
        digest.
    """
    meta = read_meta(path, contract)
    if path.is_dir():
        raise InvalidInput(f"{path}: ingested by Spark.", "Add --engine spark, or ingest without it.")
    try:
        table = pa.parquet.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(f"{path}: not a complete Parquet file.", _REMEDY) from error
    frame = table.to_pandas()
    if content_digest(frame) != meta.digest:
        raise InvalidInput(f"{path}: the content has changed since it was ingested.", _REMEDY)
    return frame, meta


def read_meta(path: Path, contract: Contract) -> IngestedMeta:
    """The description in an ingested file's footer; the content is not compared with the digest.

    Raises
    ------
    InvalidInput
        If there is no such file or folder, or ``ingest`` has not written it by this contract.
    """
    if not path.exists():
        raise InvalidInput(f"{path}: no ingested data.", _REMEDY)
    try:
        if path.is_dir():
            content = (path / _META_FILE).read_bytes()
        else:
            content = (pa.parquet.read_schema(path).metadata or {}).get(_KEY, b"{}")
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(f"{path}: not a complete Parquet file.", _REMEDY) from error
    note: dict[str, Any] = json.loads(content)
    if note.pop("format", None) != _FORMAT:
        raise InvalidInput(f"{path}: a Parquet file that ingest has not written, or another version of it.", _REMEDY)
    values = {name: tuple(each) for name, each in note["values"].items()}
    meta = IngestedMeta(**{**note, "cleaning": CleaningReport(**note["cleaning"]), "values": values})
    if meta.contract != contract.digest:
        raise InvalidInput(f"{path}: ingested by another contract than {contract}, or before it was changed.", _AGAIN)
    return meta


def content_digest(frame: pd.DataFrame) -> str:
    """SHA-256 over names, types and values of a clean table's columns, in order.

    Independent of how the table is stored: equal content has an equal digest from CSV and from Parquet.
    """
    sha = hashlib.sha256()
    for column in frame.columns:
        series = frame[column]
        values = (
            series.astype("int64").to_numpy() if isinstance(series.dtype, pd.DatetimeTZDtype) else series.to_numpy()
        )
        if values.dtype.kind == "f":
            values = values + 0.0  # -0.0 equals 0.0 but has other bytes
        if values.dtype.kind == "O":
            sha.update(f"{column}:text:{len(values)}\n".encode())
            sha.update(json.dumps([value if isinstance(value, str) else None for value in values]).encode())
            continue
        values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
        sha.update(f"{column}:{values.dtype.str}:{len(values)}\n".encode())
        sha.update(values.data)
    return sha.hexdigest()
