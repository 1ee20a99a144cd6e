"""Run a command that ends when its parent does: `python -m dlb_core.jobs.tied COMMAND...`.

Even a parent killed with -9 then leaves no orphans. Linux only; elsewhere the command runs
untied.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel for SIGTERM at the parent's death, then become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        # It died before we could ask.
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606  # the caller's own command


if __name__ == "__main__":
    main()
