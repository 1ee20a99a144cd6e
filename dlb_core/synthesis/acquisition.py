"""Scan a synthetic head: oblique grids, thick slices, uneven sensitivity, noise.

Anatomy is sampled once, by an affine map, onto the scan's grid. Native world coordinates are the
scanner's, RAS+ mm.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from dlb_core.synthesis.fields import Array, smooth_field, white_noise
from dlb_core.volume import Affine, Grid, Mask, Shape

AXIS_DIRECTIONS = {
    "R": (1, 0, 0),
    "L": (-1, 0, 0),
    "A": (0, 1, 0),
    "P": (0, -1, 0),
    "S": (0, 0, 1),
    "I": (0, 0, -1),
}


@dataclass(frozen=True, slots=True)
class Protocol:
    """How one image is acquired."""

    axes: str
    """Where the array's axes point, roughly, e.g. LPS."""
    tilt_deg: tuple[float, float, float]
    """Rotation of the slices about the world's x, y and z axis."""
    voxel_mm: tuple[float, float, float]
    field_mm: tuple[float, float, float]
    """Voxel sizes and field of view along the array's axes."""
    centre_mni_mm: tuple[float, float, float]
    """The point of the head that the operator centres on."""
    subslices: int
    """Planes averaged into one slice along the last axis."""
    noise: float
    """Standard deviation relative to white matter."""
    bias: float
    """Strength of the uneven sensitivity, as the logarithm's standard deviation."""
    white_matter_level: float
    """Stored value of normal white matter."""


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """One image with what is known of it."""

    image: NDArray[np.int16]
    lesions: Mask
    brain: Mask
    affine: Affine


def _rigid(angles_deg: NDArray[np.float64], shift_mm: NDArray[np.float64]) -> Affine:
    """(4, 4): rotate about the world's x, y and z axis, then shift."""
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    transform[:3, 3] = shift_mm
    return transform


def draw_positions(rng: np.random.Generator) -> tuple[Affine, Affine]:
    """Scanner world -> MNI while the T1w is taken, and while the FLAIR is."""
    t1w_to_mni = _draw_position(rng)
    # Patients move a little between two series.
    return t1w_to_mni, t1w_to_mni @ _rigid(rng.normal(0, 1.2, 3), rng.normal(0, 1.5, 3))


def draw_return(rng: np.random.Generator, t1w_to_mni: Affine) -> tuple[Affine, Affine]:
    """Positions of the same head on another day: T1w and FLAIR."""
    again = t1w_to_mni @ _rigid(rng.normal(0, 4, 3), rng.normal(0, 8, 3))
    return again, again @ _rigid(rng.normal(0, 1.2, 3), rng.normal(0, 1.5, 3))


def _draw_position(rng: np.random.Generator) -> Affine:
    """Scanner world -> MNI: the head lies a little askew and is smaller than the template's."""
    growth = np.eye(4)
    growth[:3, :3] = np.diag(rng.uniform((1.05, 1.04, 1.06), (1.10, 1.09, 1.12)))
    growth[:3, :3] += np.triu(rng.normal(0, 0.01, (3, 3)), 1)
    return growth @ _rigid(rng.normal(0, 4, 3), rng.normal(0, 8, 3))


def lay_grid(protocol: Protocol, to_mni: Affine, coarsening: float) -> Grid:
    """Place the scan's grid in the scanner, centred on the head."""
    directions = np.array([AXIS_DIRECTIONS[axis] for axis in protocol.axes], dtype=np.float64).T
    tilted = Rotation.from_euler("xyz", protocol.tilt_deg, degrees=True).as_matrix() @ directions
    sizes = np.array(protocol.voxel_mm) * coarsening
    i, j, k = (round(float(n)) for n in np.array(protocol.field_mm) / sizes)
    affine = np.eye(4)
    affine[:3, :3] = tilted * sizes
    centre = (np.linalg.inv(to_mni) @ [*protocol.centre_mni_mm, 1])[:3]
    affine[:3, 3] = centre - affine[:3, :3] @ (np.array([i, j, k]) - 1) / 2
    return Grid((i, j, k), affine)


def scan(
    rng: np.random.Generator,
    protocol: Protocol,
    head_grid: Grid,
    intensity: Array,
    lesions: Array,
    brain: Mask,
    to_mni: Affine,
    coarsening: float = 1.0,
) -> Scan:
    """Acquire one image.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides sensitivity and noise.
    protocol : Protocol
        How.
    head_grid : Grid
        Where `intensity`, `lesions` and `brain` lie, in MNI world mm.
    intensity : (I, J, K) float32
        Noise-free signal, white matter = 1.
    lesions : (I, J, K) float32
        Share of each voxel that is lesion.
    brain : (I, J, K) bool
        The brain.
    to_mni : (4, 4)
        Scanner world mm -> MNI world mm.
    coarsening : float
        Factor on the protocol's voxel sizes.

    Returns
    -------
    Scan
        `lesions` and `brain` are the voxels more than half full of it.
    """
    grid = lay_grid(protocol, to_mni, coarsening)
    half = np.float32(0.5)
    return Scan(
        image=expose(rng, protocol, head_grid, intensity, to_mni, grid),
        lesions=sample(lesions, head_grid, grid, to_mni, protocol.subslices) > half,
        brain=sample(brain.astype(np.float32), head_grid, grid, to_mni, protocol.subslices) > half,
        affine=grid.affine,
    )


def expose(
    rng: np.random.Generator,
    protocol: Protocol,
    head_grid: Grid,
    intensity: Array,
    to_mni: Affine,
    grid: Grid,
) -> NDArray[np.int16]:
    """The image alone, on the scan's grid: sampled, unevenly lit, with Rician noise."""
    signal = sample(intensity, head_grid, grid, to_mni, protocol.subslices)
    signal *= np.exp(protocol.bias * _sensitivity(rng, grid.shape))
    real = signal + protocol.noise * white_noise(rng, grid.shape)
    imaginary = protocol.noise * white_noise(rng, grid.shape)
    magnitude = np.hypot(real, imaginary) * protocol.white_matter_level
    image: NDArray[np.int16] = np.rint(magnitude).astype(np.int16)
    return image


def sample(image: Array, source: Grid, target: Grid, to_source: Affine, subslices: int) -> Array:
    """Average `subslices` planes of an image into each slice of the target grid."""
    fine = target.affine.copy()
    fine[:3, 2] /= subslices
    # The first of n planes lies (n - 1) / 2 planes below the middle of its slice.
    fine[:3, 3] -= fine[:3, 2] * (subslices - 1) / 2
    matrix = np.linalg.inv(source.affine) @ to_source @ fine
    i, j, k = target.shape
    planes = ndimage.affine_transform(
        image, matrix, output_shape=(i, j, k * subslices), order=1, mode="constant"
    )
    return np.asarray(planes.reshape(i, j, k, subslices).mean(axis=-1), dtype=np.float32)


def _sensitivity(rng: np.random.Generator, shape: Shape) -> Array:
    """Smooth over about half the field of view, mean 0."""
    coils = smooth_field(rng, shape, max(shape) / 2)
    return np.asarray(coils - np.float32(coils.mean(dtype=np.float64)), dtype=np.float32)
