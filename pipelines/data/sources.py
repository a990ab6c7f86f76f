"""Where transactions come from: ``--data auto|kaggle|simulated|PATH``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import pandas as pd

from ml_project.contract import Contract
from ml_project.contract_file import DEFAULT
from ml_project.errors import InvalidInput, Unavailable
from ml_project.simulator import FIELDS, LABEL, simulate
from ml_project.simulator_cards import COLUMNS, CardWorld, simulate_cards
from pipelines.data import kaggle
from pipelines.data.files import MOST_BYTES, nowhere, read_table

Source = Literal["kaggle", "simulated", "file"]

SIMULATED_WARNING = """\
SIMULATED DATA: no real transactions were available, so the simulator makes {rows:,} rows.
Models trained on them are for trying the platform out, and never replace one trained on real data.
Reason: {reason}"""


@dataclass(frozen=True)
class RawData:
    """A table as its source gave it, not yet cleaned.

    Attributes
    ----------
    source : {'kaggle', 'simulated', 'file'}
        Kept as the tag ``data.source`` of every run and model version.
    name : str
        For messages: the data set, the simulator with its seed, or the path as given.
    place_of : callable
        Where a row stands; see `files.Table`.
    """

    frame: pd.DataFrame
    source: Source
    name: str
    place_of: Callable[[int], str] = nowhere


@dataclass(frozen=True)
class DataLocation:
    """Where rows are: a path or address, or None where the simulator makes them."""

    location: str | None
    source: Source
    name: str


def read_source(
    data: str,
    contract: Contract,
    *,
    cache: Path,
    simulated_rows: int = 284_807,
    seed: int = 0,
    kaggle_timeout: float = 10.0,
    kaggle_command: Sequence[str] = kaggle.COMMAND,
    kaggle_sha256: str = kaggle.SHA256,
    s3_endpoint_url: str = "",
    most_bytes: int = MOST_BYTES,
    on_notice: Callable[[str], None],
) -> RawData:
    """Read the requested data.

    Parameters
    ----------
    data : str
        ``auto`` (the cached Kaggle file, else Kaggle, else the contract's simulator), ``kaggle``, ``simulated``, a path
        or ``s3://bucket/key``.
    contract : Contract
        What the columns are.
    cache : Path
        Folder that keeps Kaggle's file.
    simulated_rows, seed : int
        For the simulator.
    kaggle_timeout : float
        Seconds without progress after which Kaggle counts as unreachable.
    kaggle_command, kaggle_sha256
        The client, and the expected digest of its download.
    s3_endpoint_url : str
        S3 endpoint; empty: AWS's own.
    most_bytes : int
        Largest file; see `files.read_table`.
    on_notice : callable
        Called with what the user must know: a download, or simulated data in place of real data.

    Raises
    ------
    InvalidInput
        If the file cannot be read, Kaggle's file is not the expected one, or the contract is for another table.
    Unavailable
        If Kaggle or S3 was asked for and cannot be reached.
    """
    found = locate(
        data,
        contract,
        cache=cache,
        simulated_rows=simulated_rows,
        seed=seed,
        kaggle_timeout=kaggle_timeout,
        kaggle_command=kaggle_command,
        kaggle_sha256=kaggle_sha256,
        on_notice=on_notice,
    )
    if found.location is None:
        frame = pd.concat(simulated_tables(contract, simulated_rows, seed), ignore_index=True)
        return RawData(frame, found.source, found.name)
    table = read_table(found.location, contract, s3_endpoint_url, most_bytes)
    return RawData(table.frame, found.source, found.name, table.place_of)


def locate(
    data: str,
    contract: Contract,
    *,
    cache: Path,
    simulated_rows: int,
    seed: int,
    kaggle_timeout: float = 10.0,
    kaggle_command: Sequence[str] = kaggle.COMMAND,
    kaggle_sha256: str = kaggle.SHA256,
    on_notice: Callable[[str], None],
) -> DataLocation:
    """Find the requested data, and download it if needed; see `read_source`."""
    if data not in ("auto", "kaggle", "simulated"):
        return DataLocation(data, "file", data)
    if contract.contract != DEFAULT and (data == "kaggle" or not _is_simulated(contract)):
        made_up = f"; transactions are simulated for {' and '.join(_SIMULATED)} as they come"
        others = "" if data == "kaggle" else made_up
        made = f"The data {data!r} are a table of the contract {DEFAULT}, not of {contract.contract}{others}."
        raise InvalidInput(made, "Give the file of your transactions: --data PATH.")
    count = f"{'' if contract.contract == DEFAULT else 'about '}{simulated_rows:,}"
    simulated = DataLocation(None, "simulated", f"simulated ({count} rows, seed {seed})")
    if data == "simulated":
        return simulated
    if contract.contract != DEFAULT:
        reason = f"no public table of real transactions has the fields of the contract {contract.contract}."
        on_notice(SIMULATED_WARNING.format(rows=simulated_rows, reason=reason))
        return simulated
    path = kaggle.cached(cache, sha256=kaggle_sha256)
    if path is None:
        on_notice(f"Downloading {kaggle.DATASET} from Kaggle (66 MB, once).")
        try:
            path = kaggle.download(cache, timeout=kaggle_timeout, command=kaggle_command, sha256=kaggle_sha256)
        except Unavailable as error:
            if data == "kaggle":
                raise
            on_notice(SIMULATED_WARNING.format(rows=simulated_rows, reason=error.cause))
            return simulated
    return DataLocation(str(path), "kaggle", kaggle.DATASET)


_SIMULATED: Final[Mapping[str, Sequence[str]]] = {DEFAULT: (*FIELDS, LABEL), "cards": COLUMNS}
"""The columns of simulated transactions, by the contract that they are of."""


def _is_simulated(contract: Contract) -> bool:
    """Whether a simulator makes what the contract asks for, under its names: another may be called the same."""
    columns = set(_SIMULATED.get(contract.contract, ()))
    return set(contract.required_columns) <= columns <= {*contract.known_columns, contract.transaction_id}


def simulated_tables(contract: Contract, rows: int, seed: int, chunk_rows: int = 100_000) -> Iterator[pd.DataFrame]:
    """Simulated transactions of a contract, piece by piece; those of cards are only about as many as asked for."""
    if contract.contract != DEFAULT:
        yield from simulate_cards(CardWorld.of_rows(rows), seed=seed)
        return
    for chunk in simulate(rows, seed=seed, chunk_rows=chunk_rows):
        yield pd.DataFrame(chunk.raw, columns=list(FIELDS)).assign(**{LABEL: chunk.label})
