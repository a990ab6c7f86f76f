"""Build one of the images and push it, unless one of the very same inputs is in the registry; print its digest.

    python deploy/build_image.py gateway --repository REGISTRY/fraud-detection-api --base python:3.11-slim@sha256:…

The tag is a digest of the Dockerfile, of what it copies and of the base image. So a push that touches the gateway alone
leaves MLflow's image as it is, and MLflow's only task running; the label ``org.opencontainers.image.revision`` names
the commit that an image was built from. Exit codes: 0 done, 1 the build failed, 2 usage.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import boto3

ROOT: Final = Path(__file__).resolve().parents[1]
IMAGES: Final = ("gateway", "pipelines", "mlflow")


def inputs(image: str) -> list[Path]:
    """The Dockerfile and every tracked file that it copies."""
    dockerfile = ROOT / "docker" / f"{image}.Dockerfile"
    sources = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile.read_text(), re.MULTILINE)
        for source in line.split()[:-1]
    ]
    command = ["git", "ls-files", "-z", "--", *sources]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()  # noqa: S603
    return [dockerfile, *(ROOT / name for name in sorted(listed.split("\0")) if name)]


def tag_of(image: str, base: str) -> str:
    """A tag that is the same for the same inputs, and for no others."""
    digest = hashlib.sha256(base.encode())
    for path in inputs(image):
        digest.update(f"\0{path.relative_to(ROOT)}\0{len(path.read_bytes())}\0".encode())
        digest.update(path.read_bytes())
    return f"inputs-{digest.hexdigest()[:32]}"


def pushed(repository: str, tag: str) -> str:
    """The digest of an image in ECR, empty where there is none of that tag."""
    client = boto3.client("ecr")
    name = repository.partition("/")[2]
    try:
        found = client.describe_images(repositoryName=name, imageIds=[{"imageTag": tag}])["imageDetails"]
    except client.exceptions.ImageNotFoundException:
        return ""
    return str(found[0]["imageDigest"])


def build(image: str, reference: str, base: str, commit: str) -> str:
    """Build with provenance and a bill of materials, push, and return the digest."""
    with tempfile.TemporaryDirectory() as folder:
        metadata = Path(folder) / "metadata.json"
        command = ["docker", "buildx", "build", "--file", f"docker/{image}.Dockerfile", "--platform", "linux/amd64"]
        command += ["--provenance", "mode=max", "--sbom", "true", "--push", "--tag", reference]
        command += ["--build-arg", f"BASE_IMAGE={base}", "--build-arg", f"COMMIT={commit}"]
        command += ["--metadata-file", str(metadata), "."]
        subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)  # noqa: S603
        return str(json.loads(metadata.read_text())["containerimage.digest"])


def main(argv: list[str] | None = None) -> int:
    """Build, or find what was built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", choices=IMAGES)
    parser.add_argument("--repository", required=True, help="the ECR repository, registry included")
    parser.add_argument("--base", required=True, help="the base image by digest")
    parser.add_argument("--commit", required=True, help="what the image's label names")
    arguments = parser.parse_args(argv)
    if not re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", arguments.base):
        parser.error("--base names no digest: set the GitHub variable BASE_IMAGE as docs/aws.md says")
    tag = tag_of(arguments.image, arguments.base)
    digest = pushed(arguments.repository, tag)
    try:
        digest = digest or build(arguments.image, f"{arguments.repository}:{tag}", arguments.base, arguments.commit)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"the build of {arguments.image} ended with {error.returncode}\n")
        return 1
    sys.stdout.write(f"{digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
