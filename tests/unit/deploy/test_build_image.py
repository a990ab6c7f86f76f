"""An image is built once for its inputs: what is in the registry already is not built again."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from deploy import build_image

BASE = f"python:3.11-slim@sha256:{'b' * 64}"
REPOSITORY = "123456789012.dkr.ecr.eu-west-3.amazonaws.com/fraud-detection-api"
ARGUMENTS = ["gateway", "--repository", REPOSITORY, "--base", BASE, "--commit", "c0ffee"]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    with mock_aws():
        client = boto3.client("ecr")
        client.create_repository(repositoryName="fraud-detection-api")
        yield client


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What docker is asked; it writes a digest where it is told to."""
    asked: list[list[str]] = []
    run = subprocess.run

    def answer(command: list[str], **options: Any) -> Any:
        if command[0] != "docker":
            return run(command, **options)
        asked.append(command)
        metadata = Path(command[command.index("--metadata-file") + 1])
        metadata.write_text(json.dumps({"containerimage.digest": f"sha256:{'1' * 64}"}))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", answer)
    return asked


def test_a_new_image_is_built_with_its_commit_and_its_base_by_digest(
    registry: Any, docker: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert build_image.main(ARGUMENTS) == 0
    assert capsys.readouterr().out == f"sha256:{'1' * 64}\n"
    (command,) = docker
    assert f"BASE_IMAGE={BASE}" in command
    assert "COMMIT=c0ffee" in command
    assert command[command.index("--tag") + 1] == f"{REPOSITORY}:{build_image.tag_of('gateway', BASE)}"


def test_an_image_of_the_same_inputs_is_taken_as_it_is(
    registry: Any, docker: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    tag = build_image.tag_of("gateway", BASE)
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "layers": [], "config": {"digest": "sha256:0"}})
    image = registry.put_image(repositoryName="fraud-detection-api", imageManifest=manifest, imageTag=tag)["image"]
    assert build_image.main(ARGUMENTS) == 0
    assert capsys.readouterr().out == f"{image['imageId']['imageDigest']}\n"
    assert docker == []


def test_a_change_of_the_gateway_leaves_mlflow_alone() -> None:
    names = {
        image: {str(path.relative_to(build_image.ROOT)) for path in build_image.inputs(image)}
        for image in build_image.IMAGES
    }
    assert "serving/app.py" in names["gateway"]
    assert "serving/app.py" not in names["mlflow"] | names["pipelines"]
    assert names["mlflow"] >= {"docker/mlflow.Dockerfile", "docker/mlflow/requirements.txt", "docker/mlflow/serve.py"}
    assert "pipelines/training/steps.py" in names["pipelines"]


def test_another_base_is_another_image() -> None:
    other = BASE.replace("b" * 64, "c" * 64)
    assert build_image.tag_of("mlflow", BASE) == build_image.tag_of("mlflow", BASE)
    assert build_image.tag_of("mlflow", BASE) != build_image.tag_of("mlflow", other)


def test_a_base_by_tag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_image.main([*ARGUMENTS[:4], "python:3.11-slim", *ARGUMENTS[5:]])
    assert ended.value.code == 2
    assert "names no digest" in capsys.readouterr().err
