"""The child that the tests' scheduler starts: behaves as the file named like the job says, and notes what it did."""

import os
import signal
import sys
import time
from pathlib import Path

folder, job, arguments = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
told = (folder / job).read_text() if (folder / job).exists() else "0"


def note(word: str) -> None:
    with (folder / "notes").open("a") as notes:
        notes.write(" ".join((word, job, *arguments)) + "\n")


deaf = told == "deaf"
signal.signal(signal.SIGTERM, signal.SIG_IGN if deaf else signal.default_int_handler)
note("began")
try:
    if told == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if told in ("long", "deaf"):
        time.sleep(60)
except KeyboardInterrupt:
    note("told")
    sys.exit(130)
note("ended")
sys.exit(int(told))
