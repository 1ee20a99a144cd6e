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
from dlb_core.synthesis.acquisition import Protocol, draw_position, expose, lay_grid, rigid
from dlb_core.synthesis.anatomy import Brain, build_brain
from dlb_core.synthesis.domains import Domain, Range, Site, Sizes
from dlb_core.synthesis.fields import Array, smooth_field
from dlb_core.synthesis.plaques import Plaques, draw_plaques
from dlb_core.template import MNI_GRID, load_template
from dlb_core.volume import Affine, Grid, Volume

BRAIN_EXTENT_MM = {"L": 172.0, "P": 212.0, "S": 184.0, "R": 172.0}
"""Field of view along each axis, with room for a tilted brain."""
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


def simulate_case(domain: Domain, seed: int) -> SimulatedCase:
    """Draw a subject and scan them at one of the domain's sites.

    Parameters
    ----------
    domain : Domain
    seed : int
        Not negative; the same domain and seed give the same case.

    Returns
    -------
    SimulatedCase
    """
    rng = np.random.default_rng([domain.number, seed])
    site = domain.sites[seed % len(domain.sites)]
    brain = build_brain(rng, MNI_GRID)
    # Loads are skewed: many patients have few lesions, few have many.
    low, high = np.log(domain.lesion_load_ml)
    plaques = draw_plaques(rng, brain, float(np.exp(rng.uniform(low, high))) * 1000)
    t1w_to_mni = draw_position(rng)
    flair_to_mni = t1w_to_mni @ rigid(rng.normal(0, 1.2, 3), rng.normal(0, 1.5, 3))
    t1w = _scan_and_return(
        rng,
        site,
        brain,
        _t1w_signal(rng, site, brain, plaques),
        t1w_to_mni,
        "PSR",
        site.t1w_voxel_mm,
    )
    flair = _scan_and_return(
        rng,
        site,
        brain,
        _flair_signal(rng, site, brain, plaques),
        flair_to_mni,
        site.flair_axes,
        site.flair_voxel_mm,
    )
    t1w, flair, _, _ = normalise_pair(
        t1w, flair, brain_mask=brain.brain, white_matter=load_template().white_matter
    )
    lesions = (plaques.share >= domain.outline) & brain.brain
    return SimulatedCase(np.stack([t1w, flair]).astype(np.float16), lesions.astype(np.uint8))


def _draw(rng: np.random.Generator, limits: Range) -> np.float32:
    return np.float32(rng.uniform(*limits))


def _t1w_signal(rng: np.random.Generator, site: Site, brain: Brain, plaques: Plaques) -> Array:
    """T1w: white matter > grey matter > fluid, lesions dark."""
    fluid = _draw(rng, site.t1w_fluid)
    image = brain.white_matter + _draw(rng, site.t1w_grey) * brain.grey_matter + fluid * brain.fluid
    image *= brain.texture
    return _finish(
        rng, brain, image, plaques.share, _lesion(rng, plaques.t1w, site.lesion_t1w), fluid
    )


def _flair_signal(rng: np.random.Generator, site: Site, brain: Brain, plaques: Plaques) -> Array:
    """FLAIR: grey matter above white matter, fluid dark, lesions bright."""
    fluid = _draw(rng, site.flair_fluid)
    image = (
        brain.white_matter + _draw(rng, site.flair_grey) * brain.grey_matter + fluid * brain.fluid
    )
    image += _bright_without_lesion(rng, brain)
    gain = _lesion(rng, plaques.flair, site.lesion_flair)
    image += np.float32(0.2) * plaques.halo
    return _finish(rng, brain, image, plaques.share, gain, fluid)


def _lesion(rng: np.random.Generator, drawn: Array, factors: Range) -> Array:
    """Intensity of lesions at a site, given the drawn one."""
    return 1 + _draw(rng, factors) * (drawn - 1)


def _bright_without_lesion(rng: np.random.Generator, brain: Brain) -> Array:
    """What a threshold would take for lesions: caps along the ventricles, plexus, pial rim."""
    lining = np.exp(-brain.ventricle_distance_mm / 2) * brain.white_matter
    places = np.clip(smooth_field(rng, brain.grid.shape, 14) + 0.5, 0, 1.5)
    blobs = np.clip(smooth_field(rng, brain.grid.shape, 5) - 1.4, 0, 1)
    plexus = blobs * brain.fluid * (brain.ventricle_distance_mm < 2)
    rim = brain.brain & ~ndimage.binary_erosion(brain.brain, iterations=2)
    patches = np.clip(smooth_field(rng, brain.grid.shape, 8) - 0.5, 0, 1)
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
    image *= 1 + np.float32(0.025) * smooth_field(rng, brain.grid.shape, 18)
    image *= 1 + np.float32(0.02) * smooth_field(rng, brain.grid.shape, 3)
    return np.asarray(np.where(brain.brain, image, fluid), dtype=np.float32)


def _scan_and_return(
    rng: np.random.Generator,
    site: Site,
    brain: Brain,
    intensity: Array,
    to_mni: Affine,
    axes: str,
    voxel_mm: Sizes,
) -> Array:
    """Scan the brain and bring the image back to the MNI grid, as preprocessing resamples."""
    extents = [BRAIN_EXTENT_MM[axis] for axis in axes]
    tilt = rng.normal(0, 2.0, 3)
    protocol = Protocol(
        axes=axes,
        tilt_deg=(float(tilt[0]), float(tilt[1]), float(tilt[2])),
        voxel_mm=voxel_mm,
        field_mm=(extents[0], extents[1], extents[2]),
        centre_mni_mm=BRAIN_CENTRE_MM,
        subslices=2 if voxel_mm[2] >= THICK_MM else 1,
        noise=float(rng.uniform(*site.noise)),
        bias=float(rng.uniform(*site.bias)),
        white_matter_level=STORED_LEVEL,
    )
    grid: Grid = lay_grid(protocol, to_mni, coarsening=1.0)
    scanned = Volume(expose(rng, protocol, brain.grid, intensity, to_mni, grid), grid.affine)
    return np.maximum(resample(scanned, MNI_GRID, to_mni, order=3), 0)
