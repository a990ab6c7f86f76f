"""Tables of Spark from the files that `pipelines.data.files` reads, by the same rules.

The driver looks at every file's header or footer, so that a refusal names the file; the rows are read by executors.
"""

import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet

from ml_project.cleaning import check_columns, require_distinct
from ml_project.contract import Contract
from ml_project.errors import InvalidInput
from ml_project.tables import HEAD_BYTES, CsvHead, read_head
from pipelines.data.files import index_columns, require_same_columns, whole_parquet
from pipelines.data.parquet_pages import check_pages
from pipelines.data.places import find_files, kind_of, partition_values
from pipelines.spark_session import quoted
from stores.objects import Objects, is_s3

BROKEN: Final = "_broken_line"
"""The column that holds a CSV's line where it has another number of fields than the header."""

ROW_ORDER: Final = "_row_order"
"""The column, of contracts with history, whose texts are in the order of files by name and of rows in them."""

_LOOKS_AT_ONCE: Final = 16


@dataclass(frozen=True)
class _Input:
    """Files of one place, what messages call it, and what their columns are."""

    contract: Contract
    place: Objects
    files: list[str]
    name: str

    def called(self, file: str) -> str:
        return self.name if len(self.files) == 1 else f"{self.name.rstrip('/')}/{file}"

    def path(self, file: str = "") -> str:
        root = self.place.location
        root = "s3a://" + root.removeprefix("s3://") if root.startswith("s3://") else root
        return f"{root.rstrip('/')}/{file}" if file else root


def read_spark_table(spark: Any, location: str, contract: Contract, name: str, endpoint_url: str) -> Any:
    """The table at a location, values as they are; text where files differ in their types.

    Raises
    ------
    InvalidInput
        When there is nothing, or nothing that can be read as one table, naming the file.
    """
    place, files = find_files(location, endpoint_url)
    found = _Input(contract, place, files, name)
    if any(file.lower().endswith(".zip") for file in files):
        raise InvalidInput(f"{name}: Spark reads no .zip.", "Unpack it first, or ingest without --engine spark.")
    parquet = [file for file in files if kind_of(file) == "parquet"]
    with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
        schemas = dict(zip(parquet, pool.map(lambda file: _schema(found, file), parquet), strict=True))
    heads = {file: _head(found, file) for file in files if file not in schemas}
    columns = {
        file: [each for each in schema.names if each not in index_columns(schema, contract)]
        for file, schema in schemas.items()
    }
    columns |= {file: head.names for file, head in heads.items()}
    require_same_columns(columns, name)
    alike: dict[str, list[str]] = {}
    for file, schema in schemas.items():
        alike.setdefault(str(schema.remove_metadata()), []).append(file)
    tables = [_parquet(spark, found, group, index_columns(schemas[group[0]], contract)) for group in alike.values()]
    tables += [_csv(spark, found, file, head) for file, head in heads.items()]
    return tables[0] if len(tables) == 1 else _union(tables, contract)


def moment_of(table: Any, contract: Contract) -> Any:
    """The column of event times as timestamps; null where it holds none."""
    from pyspark.sql import functions as f

    column = f.col(quoted(contract.event_time))
    if dict(table.dtypes)[contract.event_time] == "bigint":  # nanoseconds
        return f.timestamp_micros(f.floor(column / 1000))
    return column.try_cast("timestamp")


def _schema(found: _Input, file: str) -> pa.Schema:
    with whole_parquet(found.called(file)), found.place.open(file) as content:
        table = pa.parquet.ParquetFile(content)
        schema: pa.Schema = table.schema_arrow
        require_distinct(schema.names, found.called(file))
        if not is_s3(found.place.location):  # from there, all pages would come through the driver
            check_pages(content, table.metadata, found.called(file))
        return schema


def _parquet(spark: Any, found: _Input, files: list[str], index: Iterable[str]) -> Any:
    folders = {key for file in files for key in partition_values(file)}
    reader = spark.read.option("basePath", found.path()) if folders else spark.read
    table = _ordered(reader.parquet(*map(found.path, files)), found.contract)
    return table.drop(*index, *(key for key in folders if key not in found.contract.known_columns))


def _head(found: _Input, file: str) -> CsvHead:
    with found.place.open(file) as content:
        start: bytes = content.read(HEAD_BYTES)
    called = found.called(file)
    if kind_of(file) == "packed csv":
        try:
            start = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, HEAD_BYTES)
        except zlib.error as error:
            raise InvalidInput(f"{called}: damaged or incomplete archive ({error}).", "Copy it again.") from error
    head = read_head(start, found.contract, called)
    first = next((line for line in start.splitlines() if line.strip(b"\xef\xbb\xbf \t")), b"")
    if first.lower().strip(b'\xef\xbb\xbf"').startswith(b"sep="):
        raise InvalidInput(
            f"{called}: Spark takes the line sep= for the header.", "Remove it, or ingest without --engine spark."
        )
    check_columns(head.names, found.contract, called)
    return head


def _csv(spark: Any, found: _Input, file: str, head: CsvHead) -> Any:
    from pyspark.sql import functions as f
    from pyspark.sql.types import StringType, StructType

    schema = reduce(lambda made, column: made.add(column, StringType()), (*head.names, BROKEN), StructType())
    table = spark.read.csv(
        found.path(file),
        schema=schema,
        header=True,
        sep=head.separator,
        escape='"',
        ignoreLeadingWhiteSpace=True,
        ignoreTrailingWhiteSpace=True,
        columnNameOfCorruptRecord=BROKEN,
    )
    table = _ordered(table, found.contract)
    if head.decimal == ".":
        return table
    numbers = [column for column in head.names if column in found.contract.number_columns]
    pointed = {column: f.translate(quoted(column), ",", ".") for column in numbers}
    return table.withColumns(pointed)


def _ordered(table: Any, contract: Contract) -> Any:
    """With the column ``ROW_ORDER``: where its block begins in its file, and the row's turn among those of the task."""
    from pyspark.sql import functions as f

    if not contract.history:
        return table
    path = f.url_decode(f.replace(f.col("_metadata.file_path"), f.lit("+"), f.lit("%2B")))
    numbers = f.col("_metadata.file_block_start"), f.monotonically_increasing_id()
    return table.withColumn(ROW_ORDER, f.concat_ws("\x01", path, *(f.format_string("%020d", each) for each in numbers)))


def _union(tables: list[Any], contract: Contract) -> Any:
    from pyspark.sql import functions as f

    def as_text(table: Any) -> Any:
        columns = {column: f.col(quoted(column)).cast("string") for column in table.columns}
        if contract.event_time in columns:
            columns[contract.event_time] = moment_of(table, contract)
        return table.select(*(value.alias(column) for column, value in columns.items()))

    return reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), map(as_text, tables))
