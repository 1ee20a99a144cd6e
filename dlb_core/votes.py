"""Keep the votes that were cast so far, so that a case cut short goes on where it was.

The file says which case and which networks its votes belong to; votes of any others are passed
over. So it may be written by one process and taken up by another, and the result is bit for bit
that of a run without a break: sums go on in the same order from the same floats.
"""

import hashlib
import logging
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dlb_core import __version__
from dlb_core.artefacts import whole_file
from dlb_core.checkpoints import Bundle
from dlb_core.contracts import Device
from dlb_core.volume import Mask
from dlb_core.voting import Ballot

logger = logging.getLogger(__name__)

KEEP_EVERY = 5
"""Networks between two writings: 42 MB each, against about a minute of a CPU's work."""


def identity_of(
    image: NDArray[np.float32], brain_mask: Mask, bundle: Bundle, device: Device
) -> str:
    """Digest of all that decides the votes: images, weights, and how they are computed."""
    digest = hashlib.sha256()
    how = (bundle.sha256, device.value, torch.get_num_threads(), torch.__version__, __version__)
    digest.update(repr(how).encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    digest.update(np.ascontiguousarray(brain_mask).tobytes())
    return digest.hexdigest()


class VotesFile:
    """The votes of one run, in a file.

    Parameters
    ----------
    path : Path
        Its folder is made, in one that must exist.
    identity : str
        From `identity_of`.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._path = path
        self._identity = identity

    def restore(self, ballot: Ballot) -> int:
        """Take votes up again.

        Returns
        -------
        int
            Networks that had voted, in order; 0 where there is nothing to take up.
        """
        try:
            with self._path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                if str(kept["identity"]) != self._identity:
                    return 0
                done = int(kept["done"])
                ballot.restore(kept)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return 0
        logger.info("votes_taken_up", extra={"networks": done})
        return done

    def keep(self, ballot: Ballot, done: int) -> None:
        """Write the votes now and then; a case goes on without where that is impossible."""
        if done % KEEP_EVERY:
            return
        content: dict[str, Any] = {"identity": self._identity, "done": done, **ballot.parts()}
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            with whole_file(self._path) as file:
                np.savez(file, **content)
        except OSError as error:
            logger.warning("votes_not_kept", extra={"cause": type(error).__name__})
