"""What the report says of how it was made, and of what it cannot tell."""

from dlb_core.report import wording
from dlb_core.report.document import Report
from dlb_core.report.language import mark, say
from dlb_core.tiling import GRID_SHAPE
from dlb_core.uncertainty import POSSIBLE_SHARE, SURE_SHARE
from dlb_core.voting import CONVINCING_SHARE

LIMITS = (
    mark(
        "It marks what looks like white-matter lesions in FLAIR and T1w. It does not tell multiple "
        "sclerosis from other causes, nor active lesions from old ones."
    ),
    mark(
        "Cortical, infratentorial and very small lesions are missed more often; the spinal cord is "
        "not looked at."
    ),
    mark("Bright normal structures (choroid plexus, veins, pulsation) may be marked."),
    mark(
        "Location classes follow the template’s anatomy to within some millimetres; lesions at a "
        "class’s border may fall on either side. Confluent lesions have one class."
    ),
    mark(
        "Counts depend on where touching lesions are parted; volumes on resolution, contrast and "
        "scanner. Compare visits only when they were scanned alike."
    ),
    mark("Agreement, probability and confidence say how sure the networks are, not how right."),
)


def method(report: Report) -> tuple[str, ...]:
    """How the result came about, a paragraph each."""
    grid = " × ".join(str(n) for n in GRID_SHAPE)
    prepared = (
        say(
            "Both images were denoised, skull-stripped, registered to the ICBM152 template "
            "(affine), resampled once to its 1 mm grid ({grid}), corrected for uneven sensitivity "
            "and scaled so that white matter is 1.",
            grid=grid,
        )
        if report.options.input_state == "raw"
        else say(
            "Both images were denoised, registered to the ICBM152 template (affine), resampled "
            "once to its 1 mm grid ({grid}), corrected for uneven sensitivity and scaled so that "
            "white matter is 1.",
            grid=grid,
        )
    )
    voted = say(
        "DeepLesionBrain’s 75 networks, each in charge of its own part of the brain and its mirror "
        "image, voted on each voxel in overlapping subvolumes. A voxel is lesion where the "
        "majority says so; a tie is decided by the mean probability."
    )
    edited = (
        (
            say(
                "The lesion mask was then corrected by a reader; all measures were made anew from "
                "it."
            ),
        )
        if report.corrections
        else ()
    )
    return (
        f"{prepared} {voted}",
        say(
            "Lesion voxels that touch by face, edge or corner ({connectivity} neighbours) are one "
            "lesion. Left out were lesions under {smallest} mm³ in the patient’s own space, and "
            "those of which no voxel convinced {convinced} % of the networks. "
            "Centres: where the smoothed probability bulges in every direction (after Dworkin et "
            "al., AJNR 39 (2018) 626-633).",
            connectivity=report.connectivity,
            smallest=wording.measured(report.options.minimum_lesion_mm3),
            convinced=wording.number(float(100 * CONVINCING_SHARE)),
        ),
        say(
            "The agreement interval runs from the volume that {sure} % of the networks call lesion "
            "to the one that {possible} % do; it is no confidence interval. The "
            "intracranial volume is that of deepbet’s mask, fluid included (Fisch et al., Comput "
            "Biol Med 179 (2024) 108845). No norms are applied.",
            sure=wording.number(100 * SURE_SHARE),
            possible=wording.number(100 * POSSIBLE_SHARE),
        ),
        *edited,
        say("Model: {description}", description=report.model.description),
    )
