import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, text

from ml_project.errors import InvalidInput, Unavailable
from stores.decisions import DecisionRecord, DecisionStore, PageFilter, migrate, open_engine, open_store
from stores.decisions.schema import metadata
from tests.support.processes import FORKS, free_port


def test_sqlite_is_durable(sqlite_store: DecisionStore) -> None:
    with sqlite_store.engine.connect() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 100}


def test_the_file_is_private(sqlite_store: DecisionStore) -> None:
    assert Path(str(sqlite_store.engine.url.database)).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://host/name", "no url"])
def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(InvalidInput, match="FRAUD_DATABASE_URL"):
        open_engine(url)


def test_a_password_is_never_shown() -> None:
    engine = open_engine("postgres://fraud:sesame@127.0.0.1:1/decisions")
    with pytest.raises(Unavailable) as caught:
        DecisionStore(engine).ping()
    assert "://***@127.0.0.1:1/decisions" in str(caught.value)
    assert "FRAUD_DATABASE_URL" in str(caught.value)
    assert "sesame" not in str(caught.value)
    with pytest.raises(InvalidInput) as refused:
        open_engine("mysql://fraud:sesame@host/decisions")
    assert "sesame" not in str(refused.value)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="FRAUD_DATABASE_URL"):
        open_engine(f"sqlite:///{tmp_path}/file/decisions.db")


def test_migrations_make_the_tables_of_the_schema(engine: Engine) -> None:
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_a_newer_schema_is_refused(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InvalidInput, match="schema 9999, which this software does not know"):
        migrate(engine)


def test_opening_again_takes_no_lock_away(tmp_path: Path, make_record: Callable[..., DecisionRecord]) -> None:
    """Else the next process that leaves believes to be the last, and deletes the log that this one writes to."""
    path = tmp_path / "decisions.db"
    with open_store(f"sqlite:///{path}") as store:
        store.add([make_record()])
        for reading in (False, True):
            open_engine(f"sqlite:///{path}", reading=reading).dispose()
        leave = f"import sqlite3; c = sqlite3.connect({str(path)!r}); c.execute('SELECT 1 FROM labels'); c.close()"
        subprocess.run([sys.executable, "-c", leave], check=True)
        assert path.with_name(f"{path.name}-wal").exists()
        store.add([make_record()])
    with open_store(f"sqlite:///{path}") as store:
        assert len(store.page(PageFilter()).items) == 2


def test_several_processes_migrate_at_once(database_url: str) -> None:
    code = "from stores.decisions import migrate, open_engine; migrate(open_engine(url))"
    started = [FORKS.Process(target=exec, args=(code, {"url": database_url})) for _ in range(4)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * 4
    engine = open_engine(database_url)
    DecisionStore(engine).ping()
    engine.dispose()


def test_importing_the_store_is_cheap() -> None:
    code = "import sys, stores.decisions; print({'mlflow', 'pandas', 'fastapi', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_one_way_to_open_the_store(database_url: str, make_record: Callable[..., DecisionRecord]) -> None:
    with open_store(database_url) as store:
        store.add([make_record(transaction_id="a")])
    with open_store(database_url, existing=True) as store:
        assert store.find_transaction("a") is not None


def test_a_reader_makes_no_empty_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"There is no decision database .*none.db. Set FRAUD_DATABASE_URL"):
        open_store(f"sqlite:///{tmp_path}/none.db", existing=True)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InvalidInput, match="is not a URL"):
        open_store("no url", existing=True)


def test_an_absent_database_is_an_error_or_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    url = f"postgresql://u:sesame@127.0.0.1:{free_port()}/x"
    with pytest.raises(Unavailable, match="decision database"):
        open_store(url)
    with open_store(url, wait=True) as store, pytest.raises(Unavailable):
        store.ping()
    assert "the decision database is unreachable" in caplog.text
    assert "sesame" not in caplog.text


def test_a_backup_beside_the_former_log_is_not_opened(
    tmp_path: Path, make_record: Callable[..., DecisionRecord]
) -> None:
    """SQLite would take both for one database, and ruin it."""
    database, backup = tmp_path / "decisions.db", tmp_path / "backup.db"
    with open_store(f"sqlite:///{database}") as store:
        old, lost, new = make_record(), make_record(), make_record()
        store.add([old])
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("VACUUM INTO ?", [str(backup)])
        store.add([lost])
        backup.rename(database)
        for ask in (lambda: store.add([new]), lambda: store.find(old.prediction_id)):
            with pytest.raises(Unavailable, match=r"decisions\.db-wal is the former one's"):
                ask()
        for ending in ("-wal", "-shm"):
            database.with_name(f"{database.name}{ending}").unlink()
        store.add([new])
        found = store.find_all([each.prediction_id for each in (old, lost, new)])
        assert [each.record for each in found.values()] == [old, new]
        with store.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
