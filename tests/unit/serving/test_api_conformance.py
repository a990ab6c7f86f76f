"""Whatever is sent to any route, it answers as its description says: status, content type, schema, and never a 5xx."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stores.released import promotion_of
from stores.releases import Release

KEY = "a-key-for-the-schema-tests-of-40-letters"
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
QUICK = ("examples,fuzzing", "--max-examples=10", "--generation-deterministic")
LONG = "examples,coverage,fuzzing,stateful"


@pytest.mark.parametrize(
    "extent",
    [
        pytest.param(QUICK, id="quick"),
        pytest.param((LONG, "--max-examples=30"), id="long", marks=pytest.mark.slow),
        pytest.param((LONG, "--max-examples=100"), id="longest", marks=pytest.mark.soak),
    ],
)
def test_every_answer_is_as_described(extent, serve, source, scorer, card, tmp_path) -> None:
    source.promote(3, scorer)
    source.cards["digest-of-3"] = card
    source.past = promotion_of(
        Release(model_name="m", version=3, location="", files={}, gate={"passed": True}, published_at=datetime.now(UTC))
    )
    with serve(source, require_keys="true", bootstrap_key=KEY, max_batch_rows=100) as gateway:
        gateway.wait_for(3)
        command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", str(CONFIGURATION), "run"]
        options = ["--header", f"X-API-Key: {KEY}", "--phases", *extent]
        done = subprocess.run(
            [*command, f"{gateway.client.base_url}/openapi.json", *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=1200,
        )
        assert done.returncode == 0, "\n".join(line[:500] for line in done.stdout.splitlines())
        count = sum(map(len, gateway.client.get("/openapi.json").json()["paths"].values()))
        assert f"{count} selected / {count} total" in done.stdout
