"""Passwords and keys of servers that we start ourselves: random, made once, readable by their owner only."""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path


def _random() -> str:
    return secrets.token_hex(20)


@dataclass(frozen=True)
class ServerSecrets:
    """All of them; hexadecimal, so that they can stand in URLs."""

    database_password: str = field(default_factory=_random)
    access_key: str = field(default_factory=_random)
    secret_key: str = field(default_factory=_random)
    mlflow_password: str = field(default_factory=_random)
    session_key: str = field(default_factory=_random)

    @classmethod
    def load(cls, path: Path) -> "ServerSecrets":
        """Those of a file, which is made when it is missing."""
        if path.exists():
            return cls(**json.loads(path.read_text()))
        made = cls()
        write_private(path, json.dumps(asdict(made), indent=1))
        return made

    def write_auth_config(self, path: Path, database_url: str) -> Path:
        """The file from which alone MLflow takes the address of its users' database."""
        address = database_url.replace("%", "%%")  # MLflow reads it with interpolation
        lines = (
            "[mlflow]",
            "default_permission = READ",
            f"database_uri = {address}",
            "admin_username = admin",
            "auth_cache_ttl_seconds = 60",  # else the slow password hash is computed for every request
        )
        write_private(path, "\n".join(lines) + "\n")
        return path


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else may read, at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)
