"""Batches as files: one module for each format that is read, one for the answers that are written."""

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
