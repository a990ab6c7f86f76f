"""FOLDER NAME COUNT SEED: load as many bundles with changed bytes in one file, each as a trial does.

Writes how many were refused and taken, and the most memory in bytes. What is being read lies in FOLDER/NAME. A crash,
a traceback or ten minutes without an end of one file is an exit code other than 0.
"""

import faulthandler
import hashlib
import os
import random
import sys
from pathlib import Path

from ml_project.bundle import FILES, combined_digest
from ml_project.errors import InvalidBundle
from stores.bundle_trial import score_first
from tests.faults.fuzzing import changed, peak_memory

LONGEST_SECONDS = 600


def main(folder: Path, name: str, count: int, seed: int) -> None:
    rng, refused = random.Random(seed), 0
    good, tried = folder / "good", folder / "tried"
    tried.mkdir()
    contents = {each: (good / each).read_bytes() for each in FILES}
    for each, content in contents.items():
        (tried / each).write_bytes(content)
    for _ in range(count):
        bad = changed(contents[name], rng)
        for path in (tried / name, folder / name):
            path.write_bytes(bad)
        faulthandler.dump_traceback_later(LONGEST_SECONDS, exit=True)
        digest = combined_digest({each: hashlib.sha256((tried / each).read_bytes()).hexdigest() for each in FILES})
        try:
            score_first(tried, digest)
        except InvalidBundle:
            refused += 1
    sys.stdout.write(f"{refused} {count - refused} {peak_memory(os.getpid())}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
