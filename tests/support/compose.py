"""docker/compose.yaml as the tests read it: parsed, with secrets put in where it asks for them."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import URL, create_engine, make_url

from tests.support.machine import ROOT
from tests.support.servers import PostgresServer

FOLDER = ROOT / "docker"
OWNERS = {"mlflow": "mlflow", "mlflow_users": "mlflow", "decisions": "gateway", "study": "pipelines"}
_VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")


def secret_names() -> list[str]:
    """What docker/example.env leaves to be filled."""
    return re.findall(r"^(\w+)=$", (FOLDER / "example.env").read_text(), re.MULTILINE)


def variables(text: str) -> dict[str, str | None]:
    """Every variable of a text: its default, or None where it must be given."""
    return {name: default if kind == "-" else None for name, kind, default in _VARIABLE.findall(text)}


def compose(values: dict[str, str] | None = None) -> Any:
    """The file's content; with values, these stand in the place of the variables."""
    content = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return content if values is None else _filled(content, values)


def _filled(content: Any, values: dict[str, str]) -> Any:
    if isinstance(content, dict):
        return {key: _filled(value, values) for key, value in content.items()}
    if isinstance(content, list):
        return [_filled(value, values) for value in content]
    if isinstance(content, str):
        return _VARIABLE.sub(lambda found: values.get(found[1], found[3]), content)
    return content


@contextmanager
def databases(server: PostgresServer, secrets: dict[str, str]) -> Iterator[URL]:
    """What docker/postgres/databases.sh makes, dropped at the end, and the URL of its administrator."""
    url = make_url(server.url).set(drivername="postgresql+psycopg")
    folder = Path(server.program("psql")).parent
    environment = compose(secrets)["services"]["postgres"]["environment"] | {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PGHOST": str(url.query["host"]),
        "PGDATABASE": "postgres",
        "POSTGRES_USER": str(url.username),
    }
    subprocess.run(["sh", str(FOLDER / "postgres" / "databases.sh")], env=environment, check=True)
    try:
        yield url
    finally:
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for database in OWNERS:
                connection.exec_driver_sql(f"DROP DATABASE {database} WITH (FORCE)")
            for owner in sorted(set(OWNERS.values())):
                connection.exec_driver_sql(f"DROP ROLE {owner}")
        engine.dispose()
