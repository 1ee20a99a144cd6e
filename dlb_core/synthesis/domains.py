"""Three simulated domains, to test how a network does where it was not trained.

They differ as the paper's data sets do (its table 1): one site with 2D FLAIR, three sites with 3D
FLAIR, many resolutions. Every range is fixed here; a subject is a function of domain and seed
(dlb_core.synthesis.simulation). They stand for the kinds of difference between data sets, not
for those data sets: no intensity was fitted to them.

Intensities are relative to normal white matter = 1.

Source: Kamraoui et al., Medical Image Analysis 76 (2022) 102312, section 2.4.
"""

from dataclasses import dataclass

Range = tuple[float, float]
Sizes = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Site:
    """One scanner with its two protocols; a subject draws from each range."""

    t1w_voxel_mm: Sizes
    flair_voxel_mm: Sizes
    """The last one is the slices' distance."""
    flair_axes: str
    """LPS for axial slices, PSR for sagittal ones."""
    t1w_grey: Range
    t1w_fluid: Range
    flair_grey: Range
    flair_fluid: Range
    lesion_t1w: Range
    lesion_flair: Range
    """Factors on the contrast of drawn lesions, which is 0.5 to 0.9 in FLAIR."""
    noise: Range
    """Standard deviation that denoising leaves, at the scan's own voxel size."""
    bias: Range
    """What bias correction leaves, as the logarithm's standard deviation."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A data set's worth of sites, patients and raters."""

    name: str
    number: int
    """Enters every subject's seed, so that no two domains share one."""
    summary: str
    sites: tuple[Site, ...]
    """Subjects take turns at them, by seed."""
    lesion_load_ml: Range
    """On the MNI grid, about."""
    outline: float
    """A voxel is marked from this share of lesion on: raters draw tighter or wider."""


ISBI_LIKE = Domain(
    name="isbi-like",
    number=1,
    summary="one site, 2D FLAIR of 0.82 x 0.82 x 2.2 mm",
    sites=(
        Site(
            t1w_voxel_mm=(0.82, 0.82, 1.17),
            flair_voxel_mm=(0.82, 0.82, 2.2),
            flair_axes="LPS",
            t1w_grey=(0.70, 0.75),
            t1w_fluid=(0.22, 0.30),
            flair_grey=(1.08, 1.16),
            flair_fluid=(0.20, 0.30),
            lesion_t1w=(0.8, 1.1),
            lesion_flair=(0.65, 0.9),
            noise=(0.025, 0.035),
            bias=(0.01, 0.03),
        ),
    ),
    lesion_load_ml=(4, 18),
    outline=0.5,
)

MSSEG_LIKE = Domain(
    name="msseg-like",
    number=2,
    summary="three sites at 1.5 and 3 T, 3D FLAIR of 0.9 to 1.25 mm",
    sites=(
        Site(
            t1w_voxel_mm=(1.08, 1.08, 0.9),
            flair_voxel_mm=(1.04, 1.04, 1.25),
            flair_axes="PSR",
            t1w_grey=(0.76, 0.82),
            t1w_fluid=(0.30, 0.40),
            flair_grey=(1.18, 1.28),
            flair_fluid=(0.35, 0.50),
            lesion_t1w=(0.6, 0.9),
            lesion_flair=(0.45, 0.7),
            noise=(0.045, 0.06),
            bias=(0.03, 0.06),
        ),
        Site(
            t1w_voxel_mm=(0.9, 0.9, 0.9),
            flair_voxel_mm=(0.9, 0.9, 1.0),
            flair_axes="PSR",
            t1w_grey=(0.62, 0.68),
            t1w_fluid=(0.18, 0.26),
            flair_grey=(1.22, 1.34),
            flair_fluid=(0.15, 0.25),
            lesion_t1w=(0.9, 1.2),
            lesion_flair=(0.7, 1.0),
            noise=(0.02, 0.035),
            bias=(0.02, 0.05),
        ),
        Site(
            t1w_voxel_mm=(1.0, 1.0, 1.0),
            flair_voxel_mm=(1.0, 1.0, 1.1),
            flair_axes="PSR",
            t1w_grey=(0.70, 0.78),
            t1w_fluid=(0.24, 0.34),
            flair_grey=(1.0, 1.08),
            flair_fluid=(0.25, 0.40),
            lesion_t1w=(0.8, 1.1),
            lesion_flair=(0.5, 0.8),
            noise=(0.03, 0.045),
            bias=(0.02, 0.05),
        ),
    ),
    lesion_load_ml=(2, 40),
    outline=0.5,
)

INHOUSE_LIKE = Domain(
    name="inhouse-like",
    number=3,
    summary="several scanners, 3D FLAIR of 0.8 to 1.3 mm, a rater who draws wide",
    sites=(
        Site(
            t1w_voxel_mm=(0.8, 0.8, 0.8),
            flair_voxel_mm=(0.8, 0.8, 0.9),
            flair_axes="PSR",
            t1w_grey=(0.64, 0.74),
            t1w_fluid=(0.2, 0.3),
            flair_grey=(1.12, 1.24),
            flair_fluid=(0.15, 0.3),
            lesion_t1w=(0.9, 1.2),
            lesion_flair=(0.7, 1.1),
            noise=(0.03, 0.05),
            bias=(0.01, 0.04),
        ),
        Site(
            t1w_voxel_mm=(1.0, 1.0, 1.0),
            flair_voxel_mm=(1.0, 1.0, 1.0),
            flair_axes="PSR",
            t1w_grey=(0.7, 0.8),
            t1w_fluid=(0.28, 0.4),
            flair_grey=(1.05, 1.2),
            flair_fluid=(0.25, 0.45),
            lesion_t1w=(0.7, 1.0),
            lesion_flair=(0.5, 0.85),
            noise=(0.015, 0.03),
            bias=(0.02, 0.05),
        ),
        Site(
            t1w_voxel_mm=(1.0, 1.0, 1.2),
            flair_voxel_mm=(1.0, 1.0, 1.3),
            flair_axes="LPS",
            t1w_grey=(0.74, 0.82),
            t1w_fluid=(0.25, 0.38),
            flair_grey=(1.15, 1.3),
            flair_fluid=(0.2, 0.4),
            lesion_t1w=(0.7, 1.1),
            lesion_flair=(0.55, 0.9),
            noise=(0.025, 0.04),
            bias=(0.02, 0.05),
        ),
    ),
    lesion_load_ml=(1.5, 30),
    outline=0.35,
)

DOMAINS = {domain.name: domain for domain in (ISBI_LIKE, MSSEG_LIKE, INHOUSE_LIKE)}
