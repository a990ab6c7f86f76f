"""Make MLflow's users, or give them the passwords that the environment holds now.

``USER_<NAME>=password`` names each; ADMIN is the administrator. It writes to the users' database (AUTH_DATABASE_URI),
with the server up or not: so the administrator's own password can be changed as well, for which the server would want
the former one. A running server takes former passwords for a minute more (its cache).
"""

import os
import sys

from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

PREFIX = "USER_"
ADMINISTRATOR = "admin"


def main() -> None:
    """Safe to run again."""
    store = SqlAlchemyStore()
    store.init_db(os.environ["AUTH_DATABASE_URI"])
    for variable, password in os.environ.items():
        if variable.startswith(PREFIX) and password:
            name = variable.removeprefix(PREFIX).lower()
            sys.stdout.write(f"user {name} {_set(store, name, password)}\n")


def _set(store: SqlAlchemyStore, name: str, password: str) -> str:
    if store.has_user(name):
        store.update_user(name, password)
        return "has its password"
    store.create_user(name, password, is_admin=name == ADMINISTRATOR)
    return "made"


if __name__ == "__main__":
    main()
