"""Batches as files, a chunk at a time.

- ``upload``: receives the body, out of a form as well
- ``readers``: JSON, Parquet and Arrow to chunks; `csv`: the same for CSV
- ``unpacking``: Parquet and Arrow to plain rows, in a child with a limit on its memory
- ``work``: what one upload may cost
- ``job``: scores, keeps and answers chunk by chunk
- ``answers``: the answer's formats
"""

from typing import Final

JSON: Final = "application/json"
CSV: Final = "text/csv"
PARQUET: Final = "application/vnd.apache.parquet"
ARROW: Final = "application/vnd.apache.arrow.stream"
MULTIPART: Final = "multipart/form-data"

MEDIA_TYPES: Final = (JSON, CSV, PARQUET, ARROW)
"""What batches are read from and answered in."""

CHUNK_ROWS: Final = 8192
"""Rows scored at once: enough for all cores, little enough for any number of clients."""
