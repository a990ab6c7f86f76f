"""One clear error for everything that boto3 raises."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from boto3.exceptions import Boto3Error
from botocore import exceptions as aws

from ml_project.errors import FraudError, InvalidInput, Unavailable
from stores.connections import connection_fault
from stores.masking import masked
from stores.objects.errors import MissingObject

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
class S3Place:
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
        """The beginning of the access key: it is no secret, but nobody needs all of it."""
        return f"access key {self.access_key[:4]}***" if self.access_key else "no access key"


@contextmanager
def translated(place: S3Place, address: str) -> Iterator[None]:
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


def _translation(error: BaseException, place: S3Place, where: str) -> FraudError:
    if isinstance(error, aws.ClientError):
        return _answered(error, place, where)
    if isinstance(error, _NO_CREDENTIALS):
        return Unavailable(
            f"{where}: there are no AWS credentials ({_line(error)}).",
            "Give the process a role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    if isinstance(error, aws.ReadTimeoutError):
        return Unavailable(f"{where}: the server fell silent.", place.remedy)
    if isinstance(error, aws.HTTPClientError | aws.ConnectionError | aws.IncompleteReadError):
        return Unavailable(f"{where}: {_connection(error)}.", place.remedy)
    if isinstance(error, aws.FlexibleChecksumError):
        return Unavailable(f"{where}: damaged on its way ({_line(error)}).", "Try again.")
    if isinstance(error, aws.ParamValidationError | ValueError):
        return InvalidInput(f"{where}: {_line(error)}.", f"Check {place.setting} and FRAUD_S3_ENDPOINT_URL.")
    return Unavailable(f"{where}: {_line(error)}.", f"Check {place.setting} and FRAUD_S3_ENDPOINT_URL.")


def _answered(error: Any, place: S3Place, where: str) -> FraudError:
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
