"""The gateway: FastAPI over one immutable scorer."""
