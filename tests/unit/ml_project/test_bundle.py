import hashlib
import json
import pickle
import subprocess
from pathlib import Path

import pytest

from ml_project.bundle import BOOSTER_FILE, FILES, MANIFEST_FILE, ONNX_FILE, Bundle, combined_digest, read_bundle
from ml_project.errors import InvalidBundle
from ml_project.policies import Thresholds
from ml_project.scorer import load_scorer
from tests.support.creditcard import CREDITCARD


def digest_of(folder: Path) -> str:
    return combined_digest({name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES})


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_round_trip(bundle: Bundle, bundle_folder: Path):
    again = read_bundle(bundle_folder, bundle.digest)
    assert again.files == bundle.files
    assert again.digest == bundle.digest == digest_of(bundle_folder)
    assert again.manifest.thresholds == Thresholds(0.3, 0.7)
    assert sorted(path.name for path in bundle_folder.iterdir()) == sorted(FILES)


def test_digest_equals_that_of_the_command_line(bundle: Bundle, bundle_folder: Path):
    found = subprocess.run(
        "LC_ALL=C sha256sum * | LC_ALL=C sort -k2 | sha256sum",
        shell=True,
        cwd=bundle_folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split()[0] == bundle.digest


def test_manifest_is_canonical(bundle: Bundle):
    content = bundle.manifest.to_bytes()
    parsed = json.loads(content)
    assert content == (json.dumps(parsed, sort_keys=True, indent=1) + "\n").encode()
    shuffled = type(bundle.manifest).model_validate(dict(reversed(parsed.items())))
    assert shuffled.to_bytes() == content


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("spoil", [lambda c: c[:-1], lambda c: c + b" ", lambda c: bytes([c[0] ^ 1]) + c[1:]])
def test_a_tampered_file_is_refused(bundle: Bundle, bundle_folder: Path, name: str, spoil):
    path = bundle_folder / name
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(InvalidBundle, match="has the digest"):
        read_bundle(bundle_folder, bundle.digest)


def test_swapped_files_are_refused(bundle: Bundle, bundle_folder: Path):
    (bundle_folder / ONNX_FILE).write_bytes(bundle.booster)
    (bundle_folder / BOOSTER_FILE).write_bytes(bundle.onnx)
    with pytest.raises(InvalidBundle, match="has the digest"):
        read_bundle(bundle_folder, bundle.digest)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(bundle_folder: Path, name: str):
    (bundle_folder / name).unlink()
    with pytest.raises(InvalidBundle, match=f"lacks {name}"):
        read_bundle(bundle_folder)


def test_a_missing_folder_and_a_folder_in_place_of_a_file(bundle_folder: Path, tmp_path: Path):
    with pytest.raises(InvalidBundle, match="lacks"):
        read_bundle(tmp_path / "nowhere")
    (bundle_folder / ONNX_FILE).unlink()
    (bundle_folder / ONNX_FILE).mkdir()
    with pytest.raises(InvalidBundle, match="lacks"):
        read_bundle(bundle_folder)


def test_other_formats_and_contracts_are_refused(bundle: Bundle, bundle_folder: Path):
    rewrite(bundle_folder, format_version=4)
    with pytest.raises(InvalidBundle, match="has format 4; this software reads 3"):
        read_bundle(bundle_folder)
    contract = bundle.manifest.contract.to_dict()
    rewrite(bundle_folder, format_version=3, contract=contract | {"features": contract["features"][:-1]})
    with pytest.raises(InvalidBundle, match="the statistics hold mean of 37 features"):
        read_bundle(bundle_folder)
    rewrite(bundle_folder, contract=contract | {"fields": contract["fields"][1:]})
    with pytest.raises(InvalidBundle, match=r"contract: .*Time is neither a field nor an earlier feature"):
        read_bundle(bundle_folder)


def test_the_contract_comes_back(bundle: Bundle, bundle_folder: Path):
    found = read_bundle(bundle_folder).manifest.contract
    assert found == CREDITCARD
    assert found.features == CREDITCARD.features
    assert found.fields == CREDITCARD.fields


def test_a_bundle_of_the_former_format_is_named_so(bundle_folder: Path):
    rewrite(bundle_folder, format_version=1)
    (bundle_folder / BOOSTER_FILE).rename(bundle_folder / "booster.ubj")
    with pytest.raises(InvalidBundle, match=r"has format 1; this software reads 3.*train again"):
        read_bundle(bundle_folder)


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b"0" * 1000, b'{"format_version": 1}', b"[" * 100_000]
)
def test_a_garbage_manifest_is_refused(bundle_folder: Path, garbage: bytes):
    (bundle_folder / MANIFEST_FILE).write_bytes(garbage)
    with pytest.raises(InvalidBundle, match="manifest"):
        read_bundle(bundle_folder, digest_of(bundle_folder))


def test_unknown_fields_of_the_manifest_are_refused(bundle_folder: Path):
    rewrite(bundle_folder, run_this="rm -rf /")
    with pytest.raises(InvalidBundle, match="run_this"):
        read_bundle(bundle_folder)


class Bomb:
    """Makes a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("name", FILES)
def test_a_pickle_in_place_of_a_file_is_never_executed(bundle: Bundle, bundle_folder: Path, tmp_path: Path, name: str):
    target = tmp_path / "executed"
    bomb = pickle.dumps(Bomb(target))
    pickle.loads(bomb)
    assert target.exists(), "the bomb works"
    target.unlink()
    (bundle_folder / name).write_bytes(bomb)
    with pytest.raises(InvalidBundle):
        load_scorer(bundle_folder, bundle.digest)
    forged = digest_of(bundle_folder)  # as if an attacker had changed the registry's tag too
    if name == BOOSTER_FILE:
        assert load_scorer(bundle_folder, forged, threads=1).bundle.booster == bomb
    else:
        with pytest.raises(InvalidBundle):
            load_scorer(bundle_folder, forged)
    assert not target.exists()


def test_writing_over_an_older_bundle_leaves_no_mixture(bundle: Bundle, bundle_folder: Path):
    other = Bundle(bundle.manifest.model_copy(update={"policy": "cost"}), bundle.onnx, b"other")
    other.write(bundle_folder)
    assert read_bundle(bundle_folder, other.digest).booster == b"other"
