"""How every engine of ours talks to PostgreSQL: the driver, pooled connections and limits on waiting."""

from typing import Any, Final

from sqlalchemy import URL

DRIVER: Final = "postgresql+psycopg"


def is_postgres(url: URL) -> bool:
    """Whether a URL names a PostgreSQL database that our driver can open."""
    return url.drivername in ("postgres", "postgresql", DRIVER)


def with_driver(url: URL) -> URL:
    """The URL with our driver: SQLAlchemy's default is another one."""
    return url.set(drivername=DRIVER)


ENGINE_OPTIONS: Final[dict[str, Any]] = {
    "pool_pre_ping": True,  # a restart of the server costs one look, no error
    "pool_size": 5,
    "max_overflow": 5,
    "pool_timeout": 3,
    # A host that vanishes without a word is noticed in seconds, not in the kernel's 15 minutes.
    "connect_args": {
        "connect_timeout": 3,
        "options": "-c statement_timeout=10000 -c synchronous_commit=on",
        "tcp_user_timeout": 5000,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
    },
}
"""For `sqlalchemy.create_engine`."""
