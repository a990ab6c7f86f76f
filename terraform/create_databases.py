"""Make PostgreSQL's users and the database that each owns; what is there already keeps its data, passwords are set.

Runs as a task inside the network, where alone the database can be reached: `libpq`'s variables name the server and its
master user, ``OWNERS`` (JSON, user to database) and ``PASSWORD_<user>`` what shall be.
"""

import json
import os

import psycopg
from psycopg import sql

READERS = {"decisions": "pipelines"}
"""Retraining and the monitor read what the gateway decided; they never write there."""

owners = json.loads(os.environ["OWNERS"])

with psycopg.connect(autocommit=True) as server:
    users = {name for (name,) in server.execute("SELECT rolname FROM pg_roles")}
    databases = {name for (name,) in server.execute("SELECT datname FROM pg_database")}
    for user, database in owners.items():
        verb = sql.SQL("ALTER ROLE" if user in users else "CREATE ROLE")
        password = sql.Literal(os.environ[f"PASSWORD_{user}"])
        server.execute(sql.SQL("{} {} LOGIN PASSWORD {}").format(verb, sql.Identifier(user), password))
        # whoever is no superuser must be a member to make a database for somebody else
        server.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(user)))
        if database not in databases:
            server.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(user))
            )
        server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))

for database, reader in READERS.items():
    owner = next(user for user, owned in owners.items() if owned == database)
    with psycopg.connect(dbname=database, autocommit=True) as server:
        server.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), sql.Identifier(reader))
        )
        server.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(sql.Identifier(reader)))
        server.execute(
            sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT SELECT ON TABLES TO {}").format(
                sql.Identifier(owner), sql.Identifier(reader)
            )
        )
