"""How the application is put together: what it imports, and cross-origin calls."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

ORIGIN = {"Origin": "https://bank.example"}


def test_pages_of_other_origins_may_not_call_by_default(gateway) -> None:
    assert "access-control-allow-origin" not in gateway.client.get("/health", headers=ORIGIN).headers


def test_named_origins_may_call_without_credentials(serve, source) -> None:
    with serve(source, cors_origins=("https://bank.example",)) as gateway:
        allowed = gateway.client.get("/health", headers=ORIGIN).headers
        other = gateway.client.get("/health", headers={"Origin": "https://evil.example"}).headers
    assert allowed["access-control-allow-origin"] == "https://bank.example"
    assert "access-control-allow-credentials" not in allowed
    assert "access-control-allow-origin" not in other


def test_nothing_heavy_is_imported_before_the_process_answers() -> None:
    heavy = {"mlflow", "pandas", "sklearn", "xgboost", "onnx", "scipy", "pipelines", "sqlalchemy", "boto3"}
    code = f"import sys, serving.__main__; sys.stdout.write(','.join({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ""
