"""Make MLflow's users of the gateway and the pipelines, or give them the passwords that the environment holds now.

``USER_<NAME>=password`` names each. MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD are an administrator's.
"""

import os
import sys

from mlflow.exceptions import RestException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.server import get_app_client
from mlflow.server.auth.client import AuthServiceClient

PREFIX = "USER_"


def main() -> None:
    """Safe to run again."""
    client = get_app_client("basic-auth", tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
    for variable, password in os.environ.items():
        if variable.startswith(PREFIX):
            name = variable.removeprefix(PREFIX).lower()
            sys.stdout.write(f"user {name} {_set(client, name, password)}\n")


def _set(client: AuthServiceClient, name: str, password: str) -> str:
    try:
        client.get_user(name)
    except RestException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        client.create_user(name, password)
        return "made"
    client.update_user_password(name, password)
    return "has its password"


if __name__ == "__main__":
    main()
