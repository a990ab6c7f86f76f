"""INSERT compiled once: for each row of a group SQLAlchemy's own way takes several times what the database does."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Dialect, Table, insert

_Row = Mapping[str, Any]


class QuickInsert:
    """Inserts rows that give every column of a table.

    Parameters
    ----------
    table : Table
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._prepared = cache(self._prepare)

    def __call__(self, connection: Connection, rows: Sequence[_Row]) -> None:
        """Insert rows, column names to values; nothing happens without any."""
        if rows:
            statement, parameters = self._prepared(connection.dialect)
            connection.exec_driver_sql(statement, [parameters(row) for row in rows])

    def _prepare(self, dialect: Dialect) -> tuple[str, Callable[[_Row], Any]]:
        compiled = insert(self._table).compile(dialect=dialect)
        names = [column.name for column in self._table.columns]
        types = [column.type.dialect_impl(dialect).bind_processor(dialect) for column in self._table.columns]
        bound = list(zip(names, types, strict=True))
        if compiled.positional:

            def parameters(row: _Row) -> Any:
                return tuple(row[name] if process is None else process(row[name]) for name, process in bound)
        else:

            def parameters(row: _Row) -> Any:
                return {name: row[name] if process is None else process(row[name]) for name, process in bound}

        return str(compiled), parameters
