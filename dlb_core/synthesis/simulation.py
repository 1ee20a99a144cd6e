"""Simulate a subject of a domain, straight to what preprocessing would hand to the networks.

A random brain (dlb_core.synthesis.anatomy) gets lesions (dlb_core.synthesis.plaques) and a site's
contrast, is scanned on that site's oblique grids (dlb_core.synthesis.acquisition) and brought back
to the MNI grid by the transforms that are known: there is no registration, no brain extraction, no
denoising and no bias correction, and so none of their errors; noise and bias are what those steps
would leave. Normalisation is the pipeline's own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.preprocessing.normalise import normalise_pair
from dlb_core.resampling import resample
from dlb_core.synthesis.acquisition import Protocol, draw_positions, expose, lay_grid
from dlb_core.synthesis.anatomy import Brain, build_brain, widened_grid
from dlb_core.synthesis.domains import Domain, Range, Site, Sizes
from dlb_core.synthesis.fields import Array, smooth_field
from dlb_core.synthesis.plaques import Plaques, draw_plaques
from dlb_core.template import MNI_GRID, load_template
from dlb_core.volume import Affine, Grid, Volume

BRAIN_EXTENT_MM = {"L": 172.0, "P": 212.0, "S": 184.0, "R": 172.0}
"""Field of view along each axis, with room for a tilted brain."""
T1W_AXES = "PSR"
BRAIN_CENTRE_MM = (0.0, -16.0, 4.0)
THICK_MM = 1.5
"""Slices from here on are averaged over two planes; thinner ones are sampled."""
STORED_LEVEL = 500.0
"""White matter in the simulated scan, which holds whole numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedCase:
    """A labelled case on the MNI grid, as the training cache holds it."""

    image: NDArray[np.float16]
    """(2, I, J, K): T1w, FLAIR; white-matter mode = 1, 0 outside the brain."""
    lesions: NDArray[np.uint8]
    """(I, J, K): 0 or 1, as the domain's rater would mark them."""


def simulate_case(domain: Domain, seed: int, *, coarsening: int = 1) -> SimulatedCase:
    """Draw a subject and scan them at one of the domain's sites.

    Parameters
    ----------
    domain : Domain
    seed : int
        Not negative; the same domain and seed give the same case.
    coarsening : int
        Factor on all voxel sizes but the result's, for quick tests.

    Returns
    -------
    SimulatedCase
    """
    rng = np.random.default_rng([domain.number, seed])
    site = domain.sites[seed % len(domain.sites)]
    brain = build_brain(rng, widened_grid(coarsening))
    # Loads are skewed: many patients have few lesions, few have many.
    low, high = np.log(domain.lesion_load_ml)
    plaques = draw_plaques(rng, brain, float(np.exp(rng.uniform(low, high))) * 1000)
    t1w_to_mni, flair_to_mni = draw_positions(rng)

    def acquire(intensity: Array, to_mni: Affine, axes: str, voxel_mm: Sizes) -> Array:
        protocol = _protocol(rng, site, axes, voxel_mm)
        grid = lay_grid(protocol, to_mni, coarsening)
        scanned = expose(rng, protocol, brain.grid, intensity, to_mni, grid)
        # Cubic, as preprocessing resamples.
        return np.maximum(resample(Volume(scanned, grid.affine), MNI_GRID, to_mni, order=3), 0)

    t1w_signal = _t1w_signal(rng, site, brain, plaques)
    t1w = acquire(t1w_signal, t1w_to_mni, T1W_AXES, site.t1w_voxel_mm)
    flair_signal = _flair_signal(rng, site, brain, plaques)
    flair = acquire(flair_signal, flair_to_mni, site.flair_axes, site.flair_voxel_mm)
    brain_mask = _on_mni(brain.brain.astype(np.float32), brain.grid) >= 0.5
    t1w, flair, _, _ = normalise_pair(
        t1w, flair, brain_mask=brain_mask, white_matter=load_template().white_matter
    )
    lesions = (_on_mni(plaques.share, brain.grid) >= domain.outline) & brain_mask
    return SimulatedCase(np.stack([t1w, flair]).astype(np.float16), lesions.astype(np.uint8))


def _on_mni(image: Array, grid: Grid) -> Array:
    if grid.shape == MNI_GRID.shape:
        return image
    return resample(Volume(image, grid.affine), MNI_GRID, np.eye(4))


def _protocol(rng: np.random.Generator, site: Site, axes: str, voxel_mm: Sizes) -> Protocol:
    """A site's protocol as an operator planned it for this subject."""
    i, j, k = (BRAIN_EXTENT_MM[axis] for axis in axes)
    x, y, z = (float(tilt) for tilt in rng.normal(0, 2.0, 3))
    return Protocol(
        axes=axes,
        tilt_deg=(x, y, z),
        voxel_mm=voxel_mm,
        field_mm=(i, j, k),
        centre_mni_mm=BRAIN_CENTRE_MM,
        subslices=2 if voxel_mm[2] >= THICK_MM else 1,
        noise=float(_draw(rng, site.noise)),
        bias=float(_draw(rng, site.bias)),
        white_matter_level=STORED_LEVEL,
    )


def _draw(rng: np.random.Generator, limits: Range) -> np.float32:
    return np.float32(rng.uniform(*limits))


def _t1w_signal(rng: np.random.Generator, site: Site, brain: Brain, plaques: Plaques) -> Array:
    """T1w: white matter > grey matter > fluid, lesions dark."""
    fluid = _draw(rng, site.t1w_fluid)
    image = brain.white_matter + _draw(rng, site.t1w_grey) * brain.grey_matter + fluid * brain.fluid
    image *= brain.texture
    lesion = _lesion(rng, plaques.t1w, site.lesion_t1w)
    return _finish(rng, brain, image, plaques.share, lesion, fluid)


def _flair_signal(rng: np.random.Generator, site: Site, brain: Brain, plaques: Plaques) -> Array:
    """FLAIR: grey matter above white matter, fluid dark, lesions bright."""
    fluid = _draw(rng, site.flair_fluid)
    image = (
        brain.white_matter + _draw(rng, site.flair_grey) * brain.grey_matter + fluid * brain.fluid
    )
    image += _bright_without_lesion(rng, brain)
    image += np.float32(0.2) * plaques.halo
    lesion = _lesion(rng, plaques.flair, site.lesion_flair)
    return _finish(rng, brain, image, plaques.share, lesion, fluid)


def _lesion(rng: np.random.Generator, drawn: Array, factors: Range) -> Array:
    """Intensity of lesions at a site, given the drawn one."""
    return 1 + _draw(rng, factors) * (drawn - 1)


def _bright_without_lesion(rng: np.random.Generator, brain: Brain) -> Array:
    """What a threshold would take for lesions: caps along the ventricles, plexus, pial rim."""
    lining = np.exp(-brain.ventricle_distance_mm / 2) * brain.white_matter
    step = brain.grid.voxel_sizes[0]
    places = np.clip(smooth_field(rng, brain.grid.shape, 14 / step) + 0.5, 0, 1.5)
    blobs = np.clip(smooth_field(rng, brain.grid.shape, 5 / step) - 1.4, 0, 1)
    plexus = blobs * brain.fluid * (brain.ventricle_distance_mm < 2)
    rim = brain.brain & ~ndimage.binary_erosion(brain.brain, iterations=max(1, round(2 / step)))
    patches = np.clip(smooth_field(rng, brain.grid.shape, 8 / step) - 0.5, 0, 1)
    bright = _draw(rng, (0.1, 0.3)) * lining * places
    bright += _draw(rng, (0.5, 1.2)) * plexus
    bright += _draw(rng, (0.0, 0.35)) * rim * patches
    return np.asarray(bright, dtype=np.float32)


def _finish(
    rng: np.random.Generator,
    brain: Brain,
    image: Array,
    share: Array,
    lesion: Array,
    fluid: np.float32,
) -> Array:
    """Put lesions in, vary tissue slowly and finely, and bathe the brain in fluid."""
    image = image + share * (lesion - image)
    step = brain.grid.voxel_sizes[0]
    image *= 1 + np.float32(0.025) * smooth_field(rng, brain.grid.shape, 18 / step)
    image *= 1 + np.float32(0.02) * smooth_field(rng, brain.grid.shape, 3 / step)
    return np.asarray(np.where(brain.brain, image, fluid), dtype=np.float32)
