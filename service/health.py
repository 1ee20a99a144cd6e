"""Tell whether this host's service answers: `python -m service.health`, for its container."""

import os
import sys

import httpx

from dlb_core.errors import BadOption
from service.settings import ServiceSettings

TIMEOUT_S = 5.0


def main() -> int:
    """Ask the service whether it lives: 0 if it says so, else 1."""
    try:
        settings = ServiceSettings.from_environment(os.environ)
        # It listens on all of the container's addresses, this one among them.
        url = f"http://127.0.0.1:{settings.port}/health/live"
        return 0 if httpx.get(url, timeout=TIMEOUT_S, trust_env=False).is_success else 1
    except (BadOption, httpx.HTTPError) as error:
        sys.stderr.write(f"service: {type(error).__name__}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
