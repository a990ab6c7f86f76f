"""Manifests of the right form whose figures cannot be meant."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ml_project.bundle import FILES, LARGEST_FILE, MANIFEST_FILE, Bundle, combined_digest, read_bundle
from ml_project.errors import InvalidBundle
from ml_project.policies import NEVER, Thresholds

NAN, INFINITE = float("nan"), float("inf")


def changed(folder: Path, place: tuple[str | int, ...], value: object) -> None:
    path = folder / MANIFEST_FILE
    manifest: Any = json.loads(path.read_text())
    inner = manifest
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("alert", "decline"),
    [(NAN, 0.7), (0.3, NAN), (1e308, 1e308), (-1.0, 0.7), (0.3, INFINITE), (0.7, 0.01), (1.5, 3.0), (0.3, -INFINITE)],
)
def test_thresholds_that_decide_nothing_or_the_wrong_way_are_refused(bundle_folder: Path, alert: float, decline: float):
    changed(bundle_folder, ("policies", "f1"), {"alert": alert, "decline": decline})
    with pytest.raises(InvalidBundle, match="policy 'f1'"):
        read_bundle(bundle_folder)


@pytest.mark.parametrize(("alert", "decline"), [(0.0, 0.0), (0.3, 0.3), (0.3, NEVER), (NEVER, NEVER)])
def test_thresholds_that_training_writes_are_taken(bundle_folder: Path, alert: float, decline: float):
    changed(bundle_folder, ("policies", "f1"), {"alert": alert, "decline": decline})
    assert read_bundle(bundle_folder).manifest.thresholds == Thresholds(alert, decline)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("scales", "amount_zscore", "std"), 0.0, "standard deviation"),
        (("scales", "amount_zscore", "mean"), NAN, "standard deviation"),
        (("scales", "amount_zscore", "mean"), -1.0, "standard deviation"),
        (("scales",), {}, "scales do not match"),
        (("settings", "blend_weight"), 1.5, "blend_weight"),
        (("settings", "blend_weight"), "much", "blend_weight"),
        (("statistics", "std", 3), 0.0, "std"),
        (("statistics", "mean", 3), NAN, "mean is not finite"),
        (("statistics", "mean"), [0.0], "mean of 1 features"),
        (("statistics", "minimum", 3), 1e9, "above the maximum"),
        (("statistics", "histograms"), {}, "do not match the features"),
        (("statistics", "histograms", "V1", "edges", 0), 1e9, "edges of V1 do not rise"),
        (("statistics", "histograms", "V1", "shares", 0), 7.0, "shares of V1 do not add up"),
        (("statistics", "histograms", "V1", "shares"), [1.0], "shares of V1 between"),
        (("score_baseline", "shares", 0), NAN, "shares of the scores"),
        (("baseline", "rows"), [1.0, 2.0], "2 hours"),
        (("baseline", "rows", 0), -5.0, "numbers of rows"),
        (("baseline", "shares", "V1", 0), [1.0], "differ in length"),
        (("golden_rows", 0, "raw", 1), NAN, "cannot be scored"),
        (("golden_rows", 0, "raw"), [1.0], "fields or scores do not match"),
        (("golden_rows", 0, "scores", "hybrid_score"), 7.0, "not between 0 and 1"),
    ],
)
def test_figures_that_cannot_be_meant_are_named(bundle_folder: Path, place: tuple[str | int, ...], value, said: str):
    changed(bundle_folder, place, value)
    with pytest.raises(InvalidBundle, match=said) as caught:
        read_bundle(bundle_folder)
    assert len(str(caught.value)) < 600


def test_many_faults_are_one_short_message(bundle_folder: Path):
    changed(bundle_folder, ("golden_rows",), [{"raw": ["x"] * 1_000, "scores": {}}] * 100)
    with pytest.raises(InvalidBundle, match="not valid") as caught:
        read_bundle(bundle_folder)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_any_size_is_not_read(bundle: Bundle, bundle_folder: Path, name: str):
    with (bundle_folder / name).open("ab") as file:
        file.truncate(LARGEST_FILE + 1)  # takes no room on the disk
    with pytest.raises(InvalidBundle, match=f"{name} has {LARGEST_FILE + 1} bytes"):
        read_bundle(bundle_folder)


def test_what_was_trained_has_no_fault(bundle: Bundle, bundle_folder: Path):
    digests = {name: hashlib.sha256((bundle_folder / name).read_bytes()).hexdigest() for name in FILES}
    assert read_bundle(bundle_folder, combined_digest(digests)).files == bundle.files
