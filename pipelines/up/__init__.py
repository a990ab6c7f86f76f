"""``python -m pipelines up``: MLflow, the gateway and one pipeline execution on this machine, for a first look.

- ``run``: starts everything in order, shows the gateway's first answers, and waits for Ctrl-C.
- ``services``: MLflow's server and the gateway as processes, and the backend that they keep their data in.
- ``servers``: PostgreSQL and an S3 server as that backend (``--backend servers``), with their secrets.

All servers are child processes, and all of them are stopped at the end, however the command ends.
"""

from pipelines.up.run import BackendName, up

__all__ = ["BackendName", "up"]
