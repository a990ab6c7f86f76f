"""SOCKET: the AWS client without the second that its imports take; run by the client's own Python, it knows no test.

It forks for each command that comes over the socket: the caller's files, arguments, variables and folder; then its exit
code. `PROGRAM` is such a caller.
"""

import json
import os
import socket
import sys
import traceback

PROGRAM = """#!{python} -ISs
import json, os, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect({address!r})
socket.send_fds(line, [b"."], [0, 1, 2])
line.sendall(json.dumps([sys.argv, dict(os.environ), os.getcwd()]).encode())
line.shutdown(socket.SHUT_WR)
sys.exit(int(line.recv(16)))
"""


def run(line: socket.socket) -> None:
    """One command, in its own process."""
    import awscli.clidriver

    _, files, _flags, _address = socket.recv_fds(line, 1, 3)
    for number, file in enumerate(files):
        os.dup2(file, number)
    with line.makefile("rb") as request:
        sys.argv, variables, folder = json.load(request)
    own = os.environ["AWS_DATA_PATH"]  # which it sets itself
    os.environ.clear()
    os.environ.update(variables, AWS_DATA_PATH=own)
    os.chdir(folder)
    try:
        code = awscli.clidriver.main()
    except SystemExit as end:  # of its parser
        code = end.code
    sys.stdout.flush()
    sys.stderr.flush()
    line.sendall(str(code).encode())


def serve(address: str) -> None:
    """Until it is ended."""
    import awscli.clidriver

    awscli.clidriver.create_clidriver()  # imports the rest
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    while True:
        line, _ = listener.accept()
        pid = os.fork()
        if pid == 0:
            try:
                run(line)
            except Exception:
                traceback.print_exc()
            os._exit(0)
        line.close()
        os.waitpid(pid, 0)


if __name__ == "__main__":
    serve(sys.argv[1])
