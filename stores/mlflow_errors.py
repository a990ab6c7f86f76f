"""Whatever MLflow's client raises for an absent or unwilling server, as one clear error."""

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException

from ml_project.errors import FraudError, Unavailable

NOT_FOUND = "RESOURCE_DOES_NOT_EXIST"


@contextmanager
def translated(tracking_uri: str) -> Iterator[None]:
    """Turn it into `Unavailable`; errors of our own pass."""
    try:
        yield
    except FraudError:
        raise
    except (MlflowException, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:300]
        raise Unavailable(
            f"The MLflow server at {tracking_uri} does not answer as it should: {reason}",
            "Check MLFLOW_TRACKING_URI and that the server runs.",
        ) from error
