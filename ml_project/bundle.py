"""A bundle: one model version as three data files. Nothing in it is ever executed, nothing is pickled.

``ensemble.onnx`` scores, ``booster.json`` (XGBoost's own form) explains, ``manifest.json`` says what they are. The
bundle's digest stands outside it (in the registry and the release pointer), because a file cannot vouch for itself.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, field_serializer

from ml_project.baseline import Baseline
from ml_project.contract import Contract
from ml_project.errors import InvalidBundle
from ml_project.features import FeatureTransform
from ml_project.manifest_check import manifest_fault
from ml_project.operators import Scale, Shares
from ml_project.policies import Thresholds
from ml_project.statistics import FeatureStatistics, Histogram

FORMAT_VERSION = 3
"""1 kept the booster as ``booster.ubj``, 2 had no contract."""

ONNX_FILE, BOOSTER_FILE, MANIFEST_FILE = "ensemble.onnx", "booster.json", "manifest.json"
FILES = (ONNX_FILE, BOOSTER_FILE, MANIFEST_FILE)

LARGEST_FILE: Final = 64 * 1024**2
"""Bytes; training writes 5 MB at most. In memory it is several times that."""


class GoldenRow(BaseModel):
    """A transaction whose scores every loader must reproduce before it answers."""

    raw: tuple[float | None, ...]
    """None where a value is missing: JSON has no NaN."""
    scores: dict[str, float]

    @property
    def values(self) -> NDArray[np.float64]:
        """The raw transaction, (fields,)."""
        return np.array(self.raw, dtype=np.float64)


class Manifest(BaseModel):
    """What stands in ``manifest.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int
    contract: Contract
    settings: dict[str, Any]
    scales: dict[str, Scale]
    shares: dict[str, Shares] = {}
    statistics: FeatureStatistics
    score_baseline: Histogram
    policy: str
    policies: dict[str, Thresholds]
    data: dict[str, Any]
    libraries: dict[str, str]
    golden_rows: tuple[GoldenRow, ...]
    baseline: Baseline | None = None
    """What live traffic is compared with; only a bundle that is still being made has none."""

    @field_serializer("contract")
    def _contract(self, contract: Contract) -> dict[str, Any]:
        return contract.to_dict()

    @cached_property
    def transform(self) -> FeatureTransform:
        """From raw transactions to the ensemble's inputs."""
        return FeatureTransform(self.contract, self.scales, self.shares)

    @property
    def thresholds(self) -> Thresholds:
        """Thresholds of the policy in use."""
        return self.policies[self.policy]

    def to_bytes(self) -> bytes:
        """Canonical JSON: equal manifests, equal bytes."""
        return (json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1) + "\n").encode()

    @property
    def drift_baseline(self) -> Baseline:
        """What live traffic is compared with.

        Raises
        ------
        InvalidBundle
            When there is none.
        """
        if self.baseline is None:
            raise InvalidBundle("The bundle has no baseline of its training rows.", "Train again.")
        return self.baseline


@dataclass(frozen=True)
class Bundle:
    """A bundle's contents in memory."""

    manifest: Manifest
    onnx: bytes
    booster: bytes

    @cached_property
    def files(self) -> dict[str, bytes]:
        """File name to contents."""
        return {ONNX_FILE: self.onnx, BOOSTER_FILE: self.booster, MANIFEST_FILE: self.manifest.to_bytes()}

    @cached_property
    def file_digests(self) -> dict[str, str]:
        """File name to SHA-256."""
        return {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}

    @property
    def digest(self) -> str:
        """The bundle's SHA-256; see `combined_digest`."""
        return combined_digest(self.file_digests)

    def write(self, folder: Path) -> None:
        """Write the three files into a folder, which is made when missing."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


def combined_digest(file_digests: Mapping[str, str]) -> str:
    """SHA-256 over the sorted lines ``<sha256>  <name>``, the form that sha256sum prints."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(file_digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def read_bundle(folder: Path, expected_digest: str | None = None) -> Bundle:
    """Read a bundle and check it against the digest that the registry holds.

    Raises
    ------
    InvalidBundle
        When a file is missing or too large, the digest differs, or the manifest is not one that this version
        understands or says what cannot be meant; see `manifest_fault`.
    """
    contents: dict[str, bytes] = {}
    for name in FILES:
        path = folder / name
        if not path.is_file():
            raise _incomplete(folder, name)
        if path.stat().st_size > LARGEST_FILE:
            raise InvalidBundle(
                f"{path} has {path.stat().st_size} bytes; at most {LARGEST_FILE} are read.",
                "Publish the version again.",
            )
        contents[name] = path.read_bytes()
    digest = combined_digest({name: hashlib.sha256(content).hexdigest() for name, content in contents.items()})
    if expected_digest is not None and digest != expected_digest:
        raise InvalidBundle(
            f"The bundle in {folder} has the digest {digest}, the registry says {expected_digest}.",
            "A file was changed after promotion; promote an intact version.",
        )
    return Bundle(_manifest(contents[MANIFEST_FILE], folder), contents[ONNX_FILE], contents[BOOSTER_FILE])


def _incomplete(folder: Path, missing: str) -> InvalidBundle:
    """Another format has other files: then that is the cause."""
    try:
        found = json.loads((folder / MANIFEST_FILE).read_bytes())["format_version"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        found = FORMAT_VERSION
    if found != FORMAT_VERSION:
        return _other_format(folder, found)
    return InvalidBundle(f"The bundle in {folder} lacks {missing}.", "Publish the version again.")


def _other_format(folder: Path, found: object) -> InvalidBundle:
    return InvalidBundle(
        f"The bundle in {folder} has format {found}; this software reads {FORMAT_VERSION}.",
        "Use the software version that made it, or train again.",
    )


def _manifest(content: bytes, folder: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise _invalid(folder, _first(error)) from error
    if manifest.format_version != FORMAT_VERSION:
        raise _other_format(folder, manifest.format_version)
    fault = manifest_fault(manifest)
    if fault is not None:
        raise _invalid(folder, fault)
    return manifest


def _invalid(folder: Path, fault: str) -> InvalidBundle:
    return InvalidBundle(f"The manifest in {folder} is not valid: {fault}.", "Publish the version again.")


def _first(error: ValidationError) -> str:
    """One fault in words: a hostile manifest has as many as it likes."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, fault["loc"]))
    return f"{place[:100]}: {fault['msg']}" if place else fault["msg"]
