"""Uploads: a batch's body, kept until it is answered.

Most clients read nothing before they have sent everything, and one bad row may stand at the end: the body is spooled,
to memory while it is small and to a nameless file beyond, and read from there as often as need be.
"""

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, Final, cast

from anyio import to_thread
from fastapi import Request

from serving.accept import media_type_of
from serving.bodies import limited_stream
from serving.errors import StorageFull, UnsupportedMediaType
from serving.formats import JSON, MEDIA_TYPES, MULTIPART
from serving.formats.multipart import FormFile
from serving.settings import GatewaySettings

_WRITE_BYTES: Final = 1024**2
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Upload:
    """A body's content and what it is; whoever holds it closes it."""

    file: BinaryIO
    media_type: str

    def close(self) -> None:
        """Free its memory or its room on the disk."""
        self.file.close()


async def receive_upload(request: Request, settings: GatewaySettings) -> Upload:
    """Read the whole body.

    Raises
    ------
    UnsupportedMediaType
        At once, for a type that no batch is read from.
    BodyTooLarge, MalformedFile, StorageFull
        When they turn out.
    """
    header = request.headers.get("content-type", "")
    media_type = media_type_of(header)
    if media_type not in (*MEDIA_TYPES, MULTIPART):
        readable = ", ".join((*MEDIA_TYPES, MULTIPART))
        raise UnsupportedMediaType("Batches are not read from this type.", f"Send one of {readable}.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Compressed bodies are not read.", "Send it plain, or as Parquet.")
    form = FormFile(header) if media_type == MULTIPART else None
    limit = settings.max_body_bytes if media_type == JSON else settings.max_upload_bytes
    async with _spool(settings.upload_spool) as file:
        waiting: list[bytes] = []
        size = 0
        async for part in limited_stream(request, limit):
            waiting.append(form.feed(part) if form else part)
            size += len(waiting[-1])
            if size >= _WRITE_BYTES:
                await to_thread.run_sync(_write, file, waiting)
                waiting, size = [], 0
        await to_thread.run_sync(_write, file, waiting)
        return Upload(file, form.close() if form else media_type)


def _write(file: BinaryIO, parts: list[bytes]) -> None:
    file.writelines(parts)
    file.flush()


@asynccontextmanager
async def _spool(folder: Path) -> AsyncIterator[BinaryIO]:
    """A temporary file that stays open unless something fails."""
    folder.mkdir(parents=True, exist_ok=True)
    file = cast(BinaryIO, SpooledTemporaryFile(_WRITE_BYTES, "w+b", dir=str(folder)))  # noqa: SIM115
    try:
        yield file
    except OSError as error:
        file.close()
        if error.errno in _FULL:
            raise StorageFull("The gateway has no room on its disk.", "Send it in parts, or later.") from error
        raise
    except BaseException:
        file.close()
        raise
