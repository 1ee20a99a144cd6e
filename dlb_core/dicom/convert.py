"""Convert a series to NIfTI with dcm2niix, and check that it put the voxels where DICOM has them.

dcm2niix reads pixels of files that may be hostile: it runs in a process of its own, within limits
of time, memory and file size. What it prints may name the patient, and is thrown away.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlb_core.dicom.geometry import Stack
from dlb_core.errors import ModelError, SeriesDefective
from dlb_core.validation import check_header, read_header
from dlb_core.volume import Grid

TIME_LIMIT_S = 300
_MEMORY_KIB = 6 * 1024 * 1024
_FILE_BLOCKS = 8 * 1024 * 1024
"""Of 512 bytes: 4 GiB."""
_LIMITED = (
    f"ulimit -t {TIME_LIMIT_S} -v {_MEMORY_KIB} 2>/dev/null; "
    f'ulimit -f {_FILE_BLOCKS} 2>/dev/null; exec "$0" "$@"'
)
_OPTIONS = {
    "-z": "n",  # no compression
    "-b": "n",  # no sidecar: it would hold headers
    "-x": "n",  # no cropping
    "-m": "y",  # one volume, though exposure or the like differs
    "-i": "n",
    "-s": "n",
    "-g": "i",  # whatever this user's own defaults are
    "-w": "1",
    "-v": "0",
    "-f": "volume",
}
_OFF_MM = 0.05
"""How far a voxel may lie from where DICOM has it."""


def convert(stack: Stack, target: Path, *, scratch: Path, role: str) -> None:
    """Write a series as one plain NIfTI file, without any text of its headers.

    Parameters
    ----------
    stack : Stack
        Its instances' files are read.
    target : Path
        The .nii file to write.
    scratch : Path
        Existing folder; whatever is put there is removed.
    role : str
        "T1w" or "FLAIR", for the messages.

    Raises
    ------
    SeriesDefective
        dcm2niix makes no volume of it, or another one than the headers describe.
    """
    source, output = scratch / f"{role}-dicom", scratch / f"{role}-nifti"
    source.mkdir()
    output.mkdir()
    try:
        for at, instance in enumerate(stack.instances):
            assert instance.path is not None, "only files can be converted"
            (source / f"{at:06d}.dcm").symlink_to(instance.path.resolve())
        _run(source, output, role)
        made = sorted(output.glob("*.nii"))
        if len(made) != 1:
            raise SeriesDefective(
                f"The {role} series converts to {len(made)} volumes where one is needed: send one "
                "magnitude volume, compressed in a way that DICOM allows or not at all."
            )
        _strip_text(made[0], role)
        facts = check_header(made[0], role=role)
        find_turn(Grid(facts.shape, facts.affine), stack, role=role)
        shutil.move(made[0], target)
    finally:
        shutil.rmtree(source)
        shutil.rmtree(output)


@dataclass(frozen=True, slots=True)
class Turn:
    """How a NIfTI array is turned, by right angles, to lie as its series does."""

    axes: tuple[int, int, int]
    """The array's axis that runs along the columns, the rows and the images."""
    reversed: tuple[bool, bool, bool]

    def apply(self, data: NDArray[Any]) -> NDArray[Any]:
        """(I, J, K), on the NIfTI file's voxels -> (images, rows, columns), on the series'."""
        turned = data.transpose(self.axes)
        backwards = tuple(axis for axis in range(3) if self.reversed[axis])
        return np.flip(turned, backwards).transpose(2, 1, 0)


def find_turn(grid: Grid, stack: Stack, *, role: str) -> Turn:
    """Compare a NIfTI file's voxels with those of the series it was made from.

    Raises
    ------
    SeriesDefective
        They are not the same voxels.
    """
    exact = np.linalg.inv(grid.affine) @ stack.affine
    axes = np.abs(exact[:3, :3]).argmax(axis=0)
    a, b, c = (int(axis) for axis in axes)
    back = [bool(exact[axis, at] < 0) for at, axis in enumerate(axes)]
    turn = Turn((a, b, c), (back[0], back[1], back[2]))
    ideal = np.zeros((4, 4))
    ideal[3, 3] = 1
    for at, axis in enumerate(axes):
        ideal[axis, at] = -1 if back[at] else 1
        ideal[axis, 3] = grid.shape[axis] - 1 if back[at] else 0
    corners = np.array(np.meshgrid(*([0, n - 1] for n in stack.shape), [1])).reshape(4, -1)
    off = np.linalg.norm((grid.affine @ (exact - ideal) @ corners)[:3], axis=0).max()
    same_shape = sorted((a, b, c)) == [0, 1, 2] and (
        tuple(grid.shape[axis] for axis in (a, b, c)) == stack.shape
    )
    if not (same_shape and off <= _OFF_MM):
        raise SeriesDefective(
            f"The {role} series was converted to voxels that lie elsewhere than its headers say: "
            "export it again, without reformatting."
        )
    return turn


def _run(source: Path, output: Path, role: str) -> None:
    from dcm2niix import bin_path

    options = [flag for pair in _OPTIONS.items() for flag in pair]
    command = ["/bin/sh", "-c", _LIMITED, str(bin_path), *options, "-o", str(output), str(source)]
    try:
        ended = subprocess.run(  # noqa: S603  # our own binary, on paths of ours
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=2 * TIME_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SeriesDefective(
            f"The {role} series takes too long to convert: export it again, uncompressed."
        ) from error
    if ended.returncode in (126, 127):
        raise ModelError("dcm2niix cannot be started: the installation lacks it")


def _strip_text(path: Path, role: str) -> None:
    """Remove what the converter wrote of the DICOM headers' texts."""
    header = read_header(path, role=role)
    for field in ("descrip", "aux_file", "intent_name", "db_name"):
        if field in header:
            header[field] = b""
    with path.open("r+b") as file:
        file.write(header.binaryblock)
