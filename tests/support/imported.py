"""What `tests.support.processes.Forked` forks from: imported once by a process that does nothing else.

What `python -m serving` imports sooner or later, but for ONNX Runtime and the few modules of ours that load it: a fork
of a process that has loaded it waits at its end for a thread which it does not have.
"""

import gc
import importlib
import sys

from stores.mlflow_client import quiet_mlflow

quiet_mlflow()

for _name in (
    *(
        "alembic.context",
        "argparse",
        "boto3",
        "fastapi.middleware.cors",
        "h11",
        "httpx",
        "prometheus_client",
        "psycopg",
    ),
    *("mlflow.tracking", "mlflow.artifacts", "mlflow.store.artifact.mlflow_artifacts_repo"),
    *("pyarrow.csv", "pyarrow.parquet", "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite"),
    *("serving.settings", "serving.transactions", "serving.worker_pool", "swagger_ui_bundle"),
    *("stores.decisions", "stores.history", "stores.registry", "stores.releases", "stores.s3", "stores.webhooks"),
    *("uvicorn.lifespan.on", "uvicorn.loops.auto", "uvicorn.main", "uvicorn.protocols.http.h11_impl"),
):
    importlib.import_module(_name)

assert "onnxruntime" not in sys.modules
# a collection in a fork would write to, and so copy, every page that it shares with this process
gc.collect()
gc.freeze()
