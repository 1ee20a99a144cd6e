"""Make a synthetic MS patient: a raw T1w and FLAIR pair whose lesions are known.

For demonstrations and tests. The anatomy is the template's (dlb_core.synthesis.anatomy), the
lesions are drawn (dlb_core.synthesis.plaques), the scans are oblique, noisy, unevenly lit, and the
FLAIR has thick slices (dlb_core.synthesis.acquisition). One seed, one patient.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dlb_core.artefacts import write_text
from dlb_core.lesions import label_lesions, linear_scale
from dlb_core.nifti import write_volume
from dlb_core.synthesis.acquisition import Protocol, Scan, draw_positions, scan
from dlb_core.synthesis.anatomy import Head, Tissue, build_head, coordinates
from dlb_core.synthesis.fields import Array, smooth_field
from dlb_core.synthesis.plaques import Plaques, draw_plaques, no_plaques
from dlb_core.volume import Affine, Volume

T1W_FILE = "sub-demo_T1w.nii.gz"
FLAIR_FILE = "sub-demo_FLAIR.nii.gz"
LESIONS_FILE = "sub-demo_space-FLAIR_label-lesion_mask.nii.gz"
README_FILE = "README.txt"

README = """This is a synthetic patient (seed {seed}). No person was scanned.

{t1w}
    T1-weighted, 1 mm isotropic, sagittal.
{flair}
    FLAIR, 1 x 1 x 3 mm, oblique axial.
{lesions}
    The lesions that were drawn, on the FLAIR's grid: {count} connected ones, {volume:.1f} ml.

The brain's shape comes from the ICBM152 2009a template (Fonov et al., NeuroImage 54 (2011)
313-327), deformed at random; lesions, skull, scalp and face are drawn, and contrast, noise and
uneven sensitivity are simulated. Made by DeepLesionBrain Service, for trying the software out:
it tells nothing about how well the software does on real scans.
"""

T1W_PROTOCOL = Protocol(
    axes="PSR",
    tilt_deg=(1.5, -2.0, 3.0),
    voxel_mm=(1.0, 1.0, 1.0),
    field_mm=(240, 240, 176),
    centre_mni_mm=(0, -16, -16),
    subslices=1,
    noise=0.03,
    bias=0.10,
    white_matter_level=620,
)
FLAIR_PROTOCOL = Protocol(
    axes="LPS",
    tilt_deg=(-9.0, 2.5, -2.0),
    voxel_mm=(1.0, 1.0, 3.0),
    field_mm=(230, 230, 177),
    centre_mni_mm=(0, -16, 6),
    subslices=3,
    noise=0.035,
    bias=0.08,
    white_matter_level=380,
)

T1W_LEVELS = {
    Tissue.AIR: 0.0,
    Tissue.FLUID: 0.2,
    Tissue.BONE: 0.06,
    Tissue.MARROW: 0.75,
    Tissue.MUSCLE: 0.52,
    Tissue.FAT: 1.55,
    Tissue.SKIN: 0.8,
    Tissue.EYE: 0.2,
    Tissue.MUCOSA: 0.6,
    Tissue.CORD: 0.92,
}
FLAIR_LEVELS = {
    Tissue.AIR: 0.0,
    Tissue.FLUID: 0.14,
    Tissue.BONE: 0.05,
    Tissue.MARROW: 0.34,
    Tissue.MUSCLE: 0.42,
    Tissue.FAT: 0.62,
    Tissue.SKIN: 0.55,
    Tissue.EYE: 0.16,
    Tissue.MUCOSA: 1.0,
    Tissue.CORD: 1.0,
}
"""Signal of what surrounds the brain, white matter = 1."""

LESION_VOLUME_ML = (13.0, 16.0)
"""Range of the total that is aimed at, in the patient's own space."""


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticPatient:
    """A pair of scans and the truth about them; masks are uint8, 0 or 1."""

    t1w: Volume
    flair: Volume
    """int16, as a scanner would store them."""
    lesions_t1w: Volume
    lesions_flair: Volume
    """Voxels more than half full of lesion."""
    brain_t1w: Volume
    brain_flair: Volume
    t1w_to_mni: Affine
    flair_to_mni: Affine
    """(4, 4), scanner world mm -> MNI world mm, but for the brain's own random shape."""
    seed: int


def make_patient(seed: int = 1, *, lesions: bool = True, coarsening: int = 1) -> SyntheticPatient:
    """Draw a patient and scan them.

    Parameters
    ----------
    seed : int
        Decides everything: the same seed gives the same patient.
    lesions : bool
        False for a healthy brain.
    coarsening : int
        Factor on all voxel sizes, for quick tests.

    Returns
    -------
    SyntheticPatient
    """
    rng = np.random.default_rng(seed)
    head = build_head(rng, coarsening)
    positions = draw_positions(rng)
    total_mm3 = rng.uniform(*LESION_VOLUME_ML) * 1000 * linear_scale(positions[0])
    plaques = draw_plaques(rng, head, total_mm3) if lesions else no_plaques(head)
    return scan_patient(
        head, plaques, positions, tissue=rng, scanner=rng, seed=seed, coarsening=coarsening
    )


def scan_patient(
    head: Head,
    plaques: Plaques,
    positions: tuple[Affine, Affine],
    *,
    tissue: np.random.Generator,
    scanner: np.random.Generator,
    seed: int,
    coarsening: int = 1,
) -> SyntheticPatient:
    """Take a T1w and a FLAIR of a head.

    Parameters
    ----------
    head : Head
    plaques : Plaques
        Its lesions.
    positions : (4, 4), (4, 4)
        Scanner world mm -> MNI world mm, of T1w and FLAIR.
    tissue, scanner : numpy.random.Generator
        Decide how even normal tissue is; and tilt, sensitivity and noise.
    seed, coarsening : int
        As for `make_patient`.
    """
    t1w_to_mni, flair_to_mni = positions

    def acquire(protocol: Protocol, intensity: Array, to_mni: Affine) -> Scan:
        return scan(
            scanner,
            protocol,
            head.grid,
            intensity,
            plaques.share,
            head.brain,
            to_mni,
            coarsening=coarsening,
        )

    t1w_plan = _tilted(scanner, T1W_PROTOCOL)
    t1w = acquire(t1w_plan, _t1w_signal(tissue, head, plaques), t1w_to_mni)
    flair_plan = _tilted(scanner, FLAIR_PROTOCOL)
    flair = acquire(flair_plan, _flair_signal(tissue, head, plaques), flair_to_mni)
    return SyntheticPatient(
        t1w=Volume(t1w.image, t1w.affine),
        flair=Volume(flair.image, flair.affine),
        lesions_t1w=Volume(t1w.lesions.astype(np.uint8), t1w.affine),
        lesions_flair=Volume(flair.lesions.astype(np.uint8), flair.affine),
        brain_t1w=Volume(t1w.brain.astype(np.uint8), t1w.affine),
        brain_flair=Volume(flair.brain.astype(np.uint8), flair.affine),
        t1w_to_mni=t1w_to_mni,
        flair_to_mni=flair_to_mni,
        seed=seed,
    )


def _tilted(rng: np.random.Generator, protocol: Protocol) -> Protocol:
    """The same protocol as another operator would plan it."""
    x, y, z = (float(t) for t in np.array(protocol.tilt_deg) + rng.normal(0, 1.0, 3))
    return replace(protocol, tilt_deg=(x, y, z))


def _t1w_signal(rng: np.random.Generator, head: Head, plaques: Plaques) -> Array:
    """T1w: white matter > grey matter > fluid, lesions dark."""
    brain = (
        np.float32(1.0) * head.white_matter
        + np.float32(0.7) * head.grey_matter
        + np.float32(0.2) * head.fluid
    )
    brain *= head.texture
    return _finish(rng, head, brain, plaques.share, plaques.t1w, T1W_LEVELS)


def _flair_signal(rng: np.random.Generator, head: Head, plaques: Plaques) -> Array:
    """FLAIR: grey matter a little above white matter, fluid dark, lesions bright."""
    step = head.grid.voxel_sizes[0]
    brain = (
        np.float32(1.0) * head.white_matter
        + np.float32(1.15) * head.grey_matter
        + np.float32(0.14) * head.fluid
    )
    # Normal white matter is not even: brighter along the ventricles, and regionally.
    lining = np.exp(-head.ventricle_distance_mm / 2.0) * head.white_matter
    brain += np.float32(0.12) * lining
    brain *= 1 + np.float32(0.025) * smooth_field(rng, head.grid.shape, 18 / step)
    brain += np.float32(0.25) * plaques.halo
    return _finish(rng, head, brain, plaques.share, plaques.flair, FLAIR_LEVELS)


def _finish(
    rng: np.random.Generator,
    head: Head,
    brain: Array,
    share: Array,
    lesion: Array,
    levels: dict[Tissue, float],
) -> Array:
    """Put lesions into the brain and the brain into the head."""
    step = head.grid.voxel_sizes[0]
    brain = brain + share * (lesion - brain)
    brain *= 1 + np.float32(0.02) * smooth_field(rng, head.grid.shape, 3 / step)
    table = np.array([levels[tissue] for tissue in Tissue], dtype=np.float32)
    outside = table[head.surroundings]
    outside *= 1 + np.float32(0.16) * smooth_field(rng, head.grid.shape, 5 / step)
    _, _, z = coordinates(head.grid)
    # The head coil sees the neck less and less.
    reach = np.clip((z + 108) / 40, 0, 1)
    return np.asarray(np.where(head.brain, brain, outside * reach), dtype=np.float32)


def write_patient(folder: Path, seed: int = 1, *, coarsening: int = 1) -> SyntheticPatient:
    """Make a patient and write the pair, the lesion mask and a note into `folder`.

    Parameters
    ----------
    folder : Path
        Made if it does not exist; files of an earlier patient are replaced.
    seed, coarsening : int
        Which patient, see `make_patient`.

    Returns
    -------
    SyntheticPatient
        What was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    patient = make_patient(seed, coarsening=coarsening)
    write_volume(folder / T1W_FILE, patient.t1w, dtype=np.int16)
    write_volume(folder / FLAIR_FILE, patient.flair, dtype=np.int16)
    write_volume(folder / LESIONS_FILE, patient.lesions_flair, dtype=np.uint8)
    write_text(folder / README_FILE, _describe(patient))
    return patient


def _describe(patient: SyntheticPatient) -> str:
    mask = patient.lesions_flair
    return README.format(
        seed=patient.seed,
        t1w=T1W_FILE,
        flair=FLAIR_FILE,
        lesions=LESIONS_FILE,
        count=int(label_lesions(mask.data > 0).max()),
        volume=float(mask.data.sum()) * mask.grid.voxel_mm3 / 1000,
    )
