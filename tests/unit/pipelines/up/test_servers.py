import os

from pipelines.up.servers import ServerSecrets


def test_made_once_and_for_the_owner_only(tmp_path) -> None:
    before = os.umask(0)
    try:
        made = ServerSecrets.load(tmp_path / "deep" / "secrets.json")
        config = made.write_auth_config(tmp_path / "deep" / "auth.ini", "postgresql://h/users?host=%2Ftmp")
    finally:
        os.umask(before)
    assert ServerSecrets.load(tmp_path / "deep" / "secrets.json") == made != ServerSecrets()
    assert "database_uri = postgresql://h/users?host=%%2Ftmp\n" in config.read_text()
    assert sorted(path.name for path in config.parent.iterdir()) == ["auth.ini", "secrets.json"]
    assert {path.stat().st_mode & 0o777 for path in config.parent.iterdir()} == {0o600}
