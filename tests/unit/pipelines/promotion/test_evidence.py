import pytest

from ml_project.bundle import Bundle
from pipelines.promotion.evidence import latency_ratio, lowest_of, reference_bundle


@pytest.mark.parametrize(
    ("measured", "expected", "spared"),
    [((9.0, 8.0, 1.2), 1.2, 0), ((1.2, 5.0, 5.0), 1.2, 2), ((9.0, 7.0, 8.0), 7.0, 0)],
)
def test_one_quiet_measurement_is_enough(measured: tuple[float, ...], expected: float, spared: int) -> None:
    left = list(measured)
    assert lowest_of(lambda: left.pop(0), enough=3.0) == expected
    assert len(left) == spared


def test_a_real_measurement_is_a_positive_number(good: Bundle) -> None:
    assert latency_ratio(good, enough=1e9) > 0


def test_the_reference_never_changes() -> None:
    assert reference_bundle().onnx == reference_bundle().onnx
