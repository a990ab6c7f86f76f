"""Whatever is sent to any route, it answers as its description says: status, content type, schema, and never a 5xx."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from ml_project.card import Card
from ml_project.cleaning import clean, learnt_values
from ml_project.contract import Contract
from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import EnsembleSettings
from ml_project.fitting import fit_twin
from ml_project.policies import Thresholds
from ml_project.scorer import Scorer
from ml_project.split import split_by_time
from serving.routes.examples import MODEL, with_inputs
from stores.released import promotion_of
from stores.releases import Release
from tests.support.creditcard import CREDITCARD
from tests.support.shop import CARDS, CARDS_YAML, VISITS, VISITS_YAML, card_transactions, visits

KEY = "a-key-for-the-schema-tests-of-40-letters"
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
QUICK = ("examples,fuzzing", "--max-examples=10", "--generation-deterministic")
FEW = ("examples,fuzzing", "--max-examples=5", "--generation-deterministic")
LONG = "examples,coverage,fuzzing,stateful"


OWN: dict[str, tuple[Contract, str, Callable[[int, int, float], pd.DataFrame]]] = {
    "visits": (VISITS, VISITS_YAML, visits),
    "cards": (CARDS, CARDS_YAML, card_transactions),
}
"""Tables with every type of field: their contracts, the files of these, and rows."""


def own_scorer(name: str, settings: EnsembleSettings) -> Scorer:
    contract, _text, rows = OWN[name]
    frame = rows(800, 1, 0.2)
    known = contract.with_values(learnt_values(frame, contract))
    data = Dataset.from_frame(clean(frame, known)[0], known)
    draft = fit_twin(split_by_time(data), settings, LocalEngine(), {"source": "file", "digest": "0" * 64}).bundle
    update = {"policy": "f1", "policies": {"f1": Thresholds(0.3, 0.7)}}
    return Scorer(replace(draft, manifest=draft.manifest.model_copy(update=update)), threads=1)


@pytest.mark.parametrize(
    ("name", "extent"),
    [
        pytest.param("creditcard", QUICK, id="quick"),
        pytest.param("creditcard", (LONG, "--max-examples=20"), id="long", marks=pytest.mark.slow),
        *(pytest.param(name, FEW, id=f"quick-{name}", marks=pytest.mark.slow) for name in OWN),
        *(
            pytest.param(name, (LONG, "--max-examples=40"), id=f"longest-{name}", marks=pytest.mark.soak)
            for name in ("creditcard", *OWN)
        ),
    ],
)
def test_every_answer_is_as_described(name, extent, serve, source, request, small_settings, tmp_path) -> None:
    own = name in OWN
    scorer = own_scorer(name, small_settings) if own else request.getfixturevalue("scorer")
    (tmp_path / "own.yaml").write_text(OWN[name][1] if own else "")
    contract = {"contract": str(tmp_path / "own.yaml")} if own else {}
    source.promote(3, scorer)
    source.cards["digest-of-3"] = Card.model_validate(with_inputs(MODEL["card"], OWN[name][0] if own else CREDITCARD))
    source.past = promotion_of(
        Release(model_name="m", version=3, location="", files={}, gate={"passed": True}, published_at=datetime.now(UTC))
    )
    with serve(source, require_keys="true", bootstrap_key=KEY, max_batch_rows=100, **contract) as gateway:
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
