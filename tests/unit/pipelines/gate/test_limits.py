from pathlib import Path

import pytest

from ml_project.errors import InvalidInput
from pipelines.gate.limits import GATE_FILE, GateLimits


def test_the_file_that_ships_is_valid() -> None:
    limits = GateLimits.load()
    assert limits.minimum_recall == 0.7
    assert limits.superiority == ()


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("maximum_latency_ratio: 3.0", ""),
        ("maximum_latency_ratio: 3.0", "maximum_latency_ratoi: 3.0"),
        ("superiority: []", "superiority: [speed]"),
        ("minimum_frauds: 20", "minimum_frauds: 0"),
        ("amount_bands: [10, 100, 500]", "amount_bands: ["),
    ],
)
def test_half_a_file_judges_nothing(tmp_path: Path, line: str, instead: str) -> None:
    text = GATE_FILE.read_text()
    assert line in text
    file = tmp_path / "gate.yaml"
    file.write_text(text.replace(line, instead))
    with pytest.raises(InvalidInput, match="limits"):
        GateLimits.load(file)
