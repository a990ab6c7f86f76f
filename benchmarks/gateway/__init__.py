"""The gateway beside what MLflow itself serves: same ensemble, same machine, one run (see bench_gateway.py)."""
