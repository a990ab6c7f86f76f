"""Objects in S3, or in any server that speaks its language at another endpoint.

Credentials are AWS's own business (environment, profile, role of the machine or container): boto3 finds them.
Everything that boto3 raises becomes one clear error.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import BufferedReader
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore import exceptions as aws
from botocore.config import Config

from ml_project.errors import FraudError, InvalidInput, Unavailable
from stores.error_text import connection_fault, masked
from stores.objects import LARGEST_READ, MissingObject, split_s3, too_large
from stores.ranged_file import RangedFile

_CONNECT_SECONDS: Final = 3
_SILENCE_SECONDS: Final = 5
_REQUEST_SECONDS: Final = 13.0
"""A whole request with its second attempt; addresses that all swallow packets, or a trickle, would take far longer."""

_PART_BYTES: Final = 8 * 1024**2
_TRANSFER: Final = TransferConfig(
    multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=4, num_download_attempts=2
)
_SHA256: Final = "sha256"
"""Metadata of what is written here; checked on reading where it is there."""

T = TypeVar("T")


class S3Objects:
    """Objects below ``s3://bucket/prefix``; see `stores.objects.Objects`. Safe to share between threads.

    Raises
    ------
    InvalidInput
        When the location or the endpoint cannot be one.
    """

    def __init__(self, location: str, endpoint_url: str = "", *, setting: str) -> None:
        try:
            self._bucket, self._prefix = split_s3(location)
        except ValueError as error:
            raise InvalidInput(f"{location}: {error}.", f"Check {setting}.") from error
        self._place = _Bucket(f"s3://{self._bucket}", endpoint_url, setting)
        self._session = boto3.Session()
        self._client = self._connect(attempts=2)
        with _translated(self._place, ""):
            credentials = self._session.get_credentials()
            if credentials is not None:
                self._place.access_key = credentials.access_key

    @property
    def location(self) -> str:
        """Bucket and prefix."""
        return self.address("").rstrip("/")

    def address(self, name: str) -> str:
        """The object's URI."""
        return f"s3://{self._bucket}/{self._key(name)}"

    def read(self, name: str, largest: int = LARGEST_READ) -> bytes:
        """An object's content, checked against the SHA-256 that it was written with."""

        def get() -> tuple[bytes, str | None]:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(name))
            content = b""
            with closing(answer["Body"]) as body:
                # until nothing comes: only then is the length compared with what was announced
                while len(content) <= largest and (piece := body.read(largest + 1 - len(content))):
                    content += piece
            return content, _digest_of(answer)

        content, expected = self._ask(name, get)
        if len(content) > largest:
            raise too_large(self.address(name), largest, self._place.setting)
        self._verify(name, hashlib.sha256(content).hexdigest(), expected)
        return content

    def write(self, name: str, content: bytes) -> None:
        """Replace an object; readers see the old content or the new one."""
        digest = hashlib.sha256(content).hexdigest()
        self._ask(
            name,
            lambda: self._client.put_object(
                Bucket=self._bucket, Key=self._key(name), Body=content, Metadata={_SHA256: digest}
            ),
        )

    def reader(self, name: str) -> BufferedReader:
        """An object to read at any position; one that changes meanwhile is refused."""

        def look() -> tuple[int, str]:
            # Not HEAD, whose errors have no reasons.
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(name))
            answer["Body"].close()
            return answer["ContentLength"], answer["ETag"]

        size, etag = self._ask(name, look)

        def fetch(begin: int, end: int) -> bytes:
            span = f"bytes={begin}-{end - 1}"
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(name), Range=span, IfMatch=etag)
            content: bytes = answer["Body"].read()
            return content

        return BufferedReader(RangedFile(size, lambda begin, end: self._ask(name, lambda: fetch(begin, end))))

    def open(self, name: str) -> Any:
        """An object read by ranges, so that a part of it costs little more than its bytes."""
        import pyarrow as pa

        return pa.PythonFile(self.reader(name), "r")

    @contextmanager
    def creating(self, name: str) -> Iterator[Path]:
        """A file in a temporary folder, uploaded when the block ends well."""
        with TemporaryDirectory(prefix="fraud-object-") as scratch:
            path = Path(scratch) / Path(name).name
            yield path
            self.upload(path, name)

    @contextmanager
    def fetched(self, wanted: Callable[[str], bool]) -> Iterator[Path]:
        """A local copy for as long as the block runs: of the object at the location, or of the objects below it.

        Parameters
        ----------
        wanted : callable
            Which names below the location are fetched.

        Raises
        ------
        MissingObject
            When there is neither an object nor a wanted one below.
        """
        with TemporaryDirectory(prefix="fraud-data-") as scratch:
            copy = Path(scratch) / Path(self.location).name
            try:
                self.download("", copy)
            except MissingObject:
                # a key may be anything, but not lead out of the copy
                names = [name for name in self.names() if wanted(name) and ".." not in name.split("/")]
                if not names:
                    raise
                for name in names:
                    (copy / name).parent.mkdir(parents=True, exist_ok=True)
                    self.download(name, copy / name)
            yield copy

    def download(self, name: str, path: Path) -> None:
        """Fetch an object into a new file, in parts; one that changes meanwhile is refused."""
        if not self._key(name):
            raise MissingObject(f"{self.address(name)} is a bucket, not an object.", f"Check {self._place.setting}.")

        def look() -> str | None:
            # Not HEAD, whose errors have no reasons.
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(name))
            answer["Body"].close()
            return _digest_of(answer)

        expected = self._ask(name, look)
        with _translated(self._place, self.address(name)):
            # A transfer tries every part twice by itself; both together would be silent for too long.
            once = self._connect(attempts=1)
            once.download_file(self._bucket, self._key(name), str(path), Config=_TRANSFER)
        if expected is not None:
            self._verify(name, _file_digest(path), expected)

    def upload(self, path: Path, name: str) -> None:
        """Put a file in the place of an object, in parts when it is big; it appears whole or not at all."""
        extra = {"Metadata": {_SHA256: _file_digest(path)}}
        with _translated(self._place, self.address(name)):
            self._client.upload_file(str(path), self._bucket, self._key(name), ExtraArgs=extra, Config=_TRANSFER)

    def remove(self, name: str) -> None:
        """Delete an object; none is no error."""
        self._ask(name, lambda: self._client.delete_object(Bucket=self._bucket, Key=self._key(name)))

    def copy_from(self, other: "S3Objects", name: str) -> None:
        """Put a copy of another place's object of that name here, without fetching it."""
        source = {"Bucket": other._bucket, "Key": other._key(name)}
        with _translated(self._place, self.address(name)):
            self._client.copy(source, self._bucket, self._key(name), Config=_TRANSFER)

    def take(self, other: "S3Objects", name: str) -> None:
        """Move another place's object of that name here, without fetching it."""
        self.copy_from(other, name)
        other.remove(name)

    def names(self) -> list[str]:
        """Names of everything below the prefix, sorted."""
        below = f"{self._prefix}/" if self._prefix else ""
        pages = iter(self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=below))
        found: list[str] = []
        while (page := self._ask("", lambda: next(pages, None))) is not None:
            found += [item["Key"].removeprefix(below) for item in page.get("Contents", ())]
        return sorted(found)

    def _connect(self, attempts: int) -> Any:
        special: dict[str, Any] = {}
        if self._place.endpoint_url:
            # Other servers know neither buckets in host names nor all of AWS's checksums.
            lenient = dict.fromkeys(("request_checksum_calculation", "response_checksum_validation"), "when_required")
            special = {"s3": {"addressing_style": "path"}, **lenient}
        config = Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_SILENCE_SECONDS,
            retries={"mode": "standard", "total_max_attempts": attempts},
            **special,
        )
        with _translated(self._place, ""):
            return self._session.client("s3", endpoint_url=self._place.endpoint_url or None, config=config)

    def _key(self, name: str) -> str:
        return "/".join(part for part in (self._prefix, name) if part)

    def _ask(self, name: str, request: Callable[[], T]) -> T:
        with _translated(self._place, self.address(name)):
            try:
                return _within(_REQUEST_SECONDS, request)
            except TimeoutError as error:
                raise Unavailable(
                    f"{self.address(name)}{self._place.at}: not done within {_REQUEST_SECONDS:.0f} s.",
                    self._place.remedy,
                ) from error

    def _verify(self, name: str, actual: str, expected: str | None) -> None:
        if expected is not None and actual != expected:
            raise Unavailable(
                f"{self.address(name)}: the content has SHA-256 {actual}, it was written with {expected}.",
                "Read it again; if that does not help, the object is damaged: write it again.",
            )


def _digest_of(answer: dict[str, Any]) -> str | None:
    """Some servers change the case of metadata's names."""
    return next((value for name, value in answer["Metadata"].items() if name.lower() == _SHA256), None)


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _within(seconds: float, work: Callable[[], T]) -> T:
    """Run on a thread, and wait for it no longer than this; raises TimeoutError."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name="s3", daemon=True).start()
    return outcome.result(seconds)


_BAD_CREDENTIALS: Final = {
    *("SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"),
    *("InvalidClientTokenId", "AuthFailure"),
}
_OTHER_REGION: Final = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_NO_CREDENTIALS: Final = (
    *(aws.NoCredentialsError, aws.PartialCredentialsError, aws.CredentialRetrievalError, aws.ProfileNotFound),
    *(aws.MetadataRetrievalError, aws.SSOError, aws.ConfigParseError),
)


@dataclass
class _Bucket:
    """A bucket at an endpoint, and the setting that named it."""

    bucket: str
    endpoint_url: str
    setting: str
    access_key: str = ""

    @property
    def at(self) -> str:
        """The endpoint, for messages."""
        return f" at {masked(self.endpoint_url)}" if self.endpoint_url else ""

    @property
    def remedy(self) -> str:
        """What to do about an endpoint that does not answer."""
        return f"Check FRAUD_S3_ENDPOINT_URL and the network, then {self.setting}."

    @property
    def who(self) -> str:
        """The beginning of the access key: it is no secret, but messages do not need all of it."""
        return f"access key {self.access_key[:4]}***" if self.access_key else "no access key"


@contextmanager
def _translated(place: _Bucket, address: str) -> Iterator[None]:
    """Turn what boto3 raises into `InvalidInput`, `MissingObject` or `Unavailable`."""
    try:
        yield
    except FraudError:
        raise
    except (aws.BotoCoreError, aws.ClientError, Boto3Error, ValueError) as error:
        raise _translation(_first(error), place, f"{address or place.bucket}{place.at}") from error


def _first(error: BaseException) -> BaseException:
    """What boto3 has wrapped."""
    while isinstance(error, Boto3Error):
        inner = getattr(error, "last_exception", None) or error.__cause__ or error.__context__
        if inner is None:
            break
        error = inner
    return error


def _translation(error: BaseException, place: _Bucket, where: str) -> FraudError:
    if isinstance(error, aws.ClientError):
        return _answered(error, place, where)
    if isinstance(error, _NO_CREDENTIALS):
        return Unavailable(
            f"{where}: there are no AWS credentials ({_line(error)}).",
            "Give the process a role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    if isinstance(error, aws.ReadTimeoutError):
        return Unavailable(f"{where}: the server stopped answering.", place.remedy)
    if isinstance(error, aws.HTTPClientError | aws.ConnectionError | aws.IncompleteReadError):
        return Unavailable(f"{where}: {_connection(error)}.", place.remedy)
    if isinstance(error, aws.FlexibleChecksumError):
        return Unavailable(f"{where}: damaged in transit ({_line(error)}).", "Try again.")
    if isinstance(error, aws.ParamValidationError | ValueError):
        return InvalidInput(f"{where}: {_line(error)}.", f"Check {place.setting} and FRAUD_S3_ENDPOINT_URL.")
    return Unavailable(f"{where}: {_line(error)}.", f"Check {place.setting} and FRAUD_S3_ENDPOINT_URL.")


def _answered(error: Any, place: _Bucket, where: str) -> FraudError:
    """What the server said in so many words."""
    details = error.response.get("Error", {})
    code, status = str(details.get("Code", "")), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code == "NoSuchBucket":
        return InvalidInput(f"{where}: there is no such bucket.", f"Check {place.setting}, or make the bucket.")
    if code in ("RequestTimeTooSkewed", "RequestExpired"):
        return Unavailable(f"{where}: this machine's clock is wrong{_skew(error)}.", "Set it, best by NTP.")
    if code in _BAD_CREDENTIALS:
        return Unavailable(
            f"{where}: the server refuses the credentials ({code}, {place.who}).",
            "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role.",
        )
    if code in _OTHER_REGION:
        return Unavailable(f"{where}: the bucket is in another region ({code}).", "Set AWS_DEFAULT_REGION.")
    if code == "PreconditionFailed":
        return Unavailable(f"{where}: the object was replaced while it was read.", "Try again.")
    if status == 404:
        return MissingObject(f"{where}: there is no such object.", f"Check {place.setting}.")
    if status == 403:
        return Unavailable(
            f"{where}: {place.who} may not do {error.operation_name} there ({code}), or it does not exist.",
            "Grant s3:GetObject, s3:PutObject and s3:ListBucket, or give other credentials.",
        )
    said = masked(str(details.get("Message", ""))).rstrip(".")[:200]
    return Unavailable(
        f"{where}: the server answered {error.operation_name} with {code or status}: {said}.", "See its log."
    )


def _skew(error: Any) -> str:
    try:
        theirs = parsedate_to_datetime(error.response["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, ValueError, TypeError):
        return ""
    return f" by {(datetime.now(UTC) - theirs).total_seconds():+.0f} s against the server's"


def _connection(error: Any) -> str:
    """Why there is no connection; the reason hides in the text of an error inside."""
    text = str(getattr(error, "kwargs", {}).get("error", error))
    return connection_fault(text) or f"the connection broke ({type(error).__name__})"


def _line(error: BaseException) -> str:
    return masked((str(error) or type(error).__name__).strip().splitlines()[0][:200].rstrip("."))
