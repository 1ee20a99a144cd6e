"""Show a folder of results in a browser: `python -m service.viewer FOLDER [--port N] [--open]`."""

import argparse
import contextlib
import socket
import sys
import webbrowser
from pathlib import Path

import uvicorn

from service.viewer.local import create_local_app

HOST = "127.0.0.1"
CANNOT_LISTEN = 2


def main() -> int:
    """Serve until Ctrl-C, which is no error."""
    parser = argparse.ArgumentParser(prog="python -m service.viewer", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--open", action="store_true")
    args = parser.parse_args()
    try:
        listener = socket.create_server((HOST, args.port))
    except OSError as error:
        sys.stderr.write(f"dlb: cannot listen on port {args.port}: {error.strerror}\n")
        return CANNOT_LISTEN
    with listener:
        address = f"http://{HOST}:{listener.getsockname()[1]}/"
        sys.stdout.write(f"viewer: {address}   (Ctrl-C ends it)\n")
        sys.stdout.flush()
        if args.open:
            webbrowser.open(address)
        config = uvicorn.Config(
            create_local_app(args.folder), log_level="warning", access_log=False, ws="none"
        )
        # Uvicorn ends in order, and then raises Ctrl-C anew.
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
