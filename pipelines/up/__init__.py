"""``python -m pipelines up``: MLflow, the gateway and one pipeline execution on this machine, for a first look.

Starts real servers as processes of their own and stops every one of them at the end, whatever the end is.
"""

from pipelines.up.run import BackendName, up

__all__ = ["BackendName", "up"]
