"""Exit code 0 when the server of this container answers /health: the images have no curl.

The argument names the environment variable that holds the server's port.
"""

import os
import sys
from http.client import HTTPConnection

_TIMEOUT_SECONDS = 4


def main() -> int:
    """Ask once; a refusal or silence is one line and exit code 1."""
    connection = HTTPConnection("127.0.0.1", int(os.environ[sys.argv[1]]), timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except OSError as error:
        sys.stderr.write(f"no answer: {error}\n")
        return 1
    if status != 200:
        sys.stderr.write(f"answered {status}\n")
    return int(status != 200)


if __name__ == "__main__":
    sys.exit(main())
