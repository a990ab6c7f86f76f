"""Make PostgreSQL's users and the database that each owns; what is there already keeps its data, passwords are set.

Runs as a task on the pipelines' image inside the network, where alone the database can be reached: libpq's variables
name the server and its master user, ``OWNERS`` (JSON, user to database) and ``PASSWORD_<user>`` what shall be.

PostgreSQL logs such statements (``log_statement=ddl``), so passwords go to it as SCRAM verifiers, never as they are.
"""

import json
import os

import psycopg
from psycopg import sql
from sqlalchemy import URL

from stores.decisions import migrate, open_engine

OWNERS: dict[str, str] = json.loads(os.environ["OWNERS"])
DECISIONS, OWNER, READER = OWNERS["gateway"], "gateway", "pipelines"


def make_users_and_databases() -> None:
    """Each user owns one database, which no other user may connect to."""
    with psycopg.connect(autocommit=True) as server:
        users = {name for (name,) in server.execute("SELECT rolname FROM pg_roles")}
        databases = {name for (name,) in server.execute("SELECT datname FROM pg_database")}
        for user, database in OWNERS.items():
            verb = sql.SQL("ALTER ROLE" if user in users else "CREATE ROLE")
            password = os.environ[f"PASSWORD_{user}"].encode()
            verifier = server.pgconn.encrypt_password(password, user.encode(), b"scram-sha-256").decode()
            server.execute(sql.SQL("{} {} LOGIN PASSWORD {}").format(verb, sql.Identifier(user), sql.Literal(verifier)))
            # who is no superuser must be a member to make a database for another user
            server.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(user)))
            if database not in databases:
                server.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(user))
                )
            server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))


def make_decision_tables() -> None:
    """As the gateway itself makes them at its start: what the pipelines may do there needs them."""
    url = URL.create("postgresql", OWNER, os.environ[f"PASSWORD_{OWNER}"], database=DECISIONS)
    engine = open_engine(url.render_as_string(hide_password=False))
    try:
        migrate(engine)
    finally:
        engine.dispose()


def let_the_pipelines_in() -> None:
    """They read what the gateway decided, but no keys; they take leases, so that one retraining runs at a time.

    Past transactions they bring in, before a version with features from history goes live.
    """
    reader, owner = sql.Identifier(READER), sql.Identifier(OWNER)
    with psycopg.connect(dbname=DECISIONS, autocommit=True) as server:
        for statement in (
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(DECISIONS), reader),
            sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(reader),
            sql.SQL("REVOKE SELECT ON keys FROM {}").format(reader),
            sql.SQL("GRANT INSERT, UPDATE, DELETE ON leases TO {}").format(reader),
            sql.SQL("GRANT INSERT, UPDATE ON events, event_changes, event_series, key_events TO {}").format(reader),
            sql.SQL(
                "GRANT USAGE ON SEQUENCE event_series_series_id_seq, events_seq_seq, event_changes_change_id_seq TO {}"
            ).format(reader),
            sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT SELECT ON TABLES TO {}").format(owner, reader),
        ):
            server.execute(statement)


make_users_and_databases()
make_decision_tables()
let_the_pipelines_in()
