"""The first scoring ends in its child, whatever the bundle does there."""

from dataclasses import replace
from pathlib import Path

import pytest

from ml_project.bundle import BOOSTER_FILE, Bundle
from ml_project.errors import InvalidBundle
from ml_project.scorer import Scorer
from stores.bundle_trial import USUAL, TrialLimits


def test_a_good_bundle_passes(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "no number")  # ends every Python that is handed this environment
    USUAL.run_bundle(bundle)


def test_what_its_checks_say_is_handed_on(bundle: Bundle, tmp_path: Path) -> None:
    bundle.write(tmp_path)
    with pytest.raises(InvalidBundle, match=f"has the digest {bundle.digest}, the registry says 0000"):
        USUAL.run(tmp_path, "0" * 64)


def test_a_name_that_is_no_text_is_refused_in_so_many_words(bundle: Bundle, capfd: pytest.CaptureFixture[str]) -> None:
    """ONNX Runtime cannot say what is wrong with it, and would print that it tries again."""
    broken = Bundle(bundle.manifest, bundle.onnx.replace(b"slope", b"\xa3lope", 1), bundle.booster)
    with pytest.raises(InvalidBundle, match="ONNX Runtime cannot load the graph: 'utf-8' codec"):
        USUAL.run_bundle(broken)
    with pytest.raises(InvalidBundle, match="ONNX Runtime cannot load the graph: 'utf-8' codec"):
        Scorer(broken)
    assert capfd.readouterr().out == ""


def test_a_booster_that_explains_other_scores_is_found(bundle: Bundle) -> None:
    with pytest.raises(InvalidBundle, match=r"booster cannot be read.*Publish"):
        USUAL.run_bundle(replace(bundle, booster=b"{}"))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (TrialLimits(seconds=0.01), "takes more than 0.01 s"),
        (
            TrialLimits(memory_bytes=20 * 1024**2),
            "more than 20971520 bytes of memory, or crashes the process|crashes the process",
        ),
    ],
)
def test_time_and_memory_are_bounded(bundle: Bundle, tmp_path: Path, limits: TrialLimits, said: str) -> None:
    bundle.write(tmp_path)
    with pytest.raises(InvalidBundle, match=said):
        limits.run(tmp_path, bundle.digest)
    assert (tmp_path / BOOSTER_FILE).exists()
