"""Location classes follow the declared rules, on the template and in the patient."""

import numpy as np
import pytest

from dlb_core.location import (
    Landmarks,
    Locator,
    location_totals,
    patient_landmarks,
    side_of,
)
from dlb_core.location_atlas import LocationAtlas, location_atlas
from dlb_core.report.document import Location, LocationRules, Side
from dlb_core.template import MNI_GRID, load_template
from dlb_core.volume import Mask
from tests.unit.reports import LEFT_LESION, RIGHT_LESION, report

IDENTITY = np.eye(4)
PointMm = tuple[int, int, int]


def ball(centre: PointMm, radius: float) -> np.ndarray:
    """Voxels of a ball at a place in MNI mm."""
    middle = np.array(centre) - MNI_GRID.affine[:3, 3]
    reach = np.arange(-int(radius), int(radius) + 1)
    steps = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), -1).reshape(-1, 3)
    return (middle + steps[(steps**2).sum(axis=1) <= radius**2]).astype(int)


def mask_of(voxels: np.ndarray) -> Mask:
    mask = np.zeros(MNI_GRID.shape, dtype=bool)
    mask[tuple(voxels.T)] = True
    return mask


@pytest.fixture(scope="module")
def atlas() -> LocationAtlas:
    return location_atlas()


@pytest.fixture(scope="module")
def template_locator(atlas: LocationAtlas) -> Locator:
    """A patient who is the template."""
    landmarks = Landmarks(atlas.ventricles, atlas.cortex, atlas.posterior_fossa)
    return Locator(landmarks, t1w_to_mni=IDENTITY, rules=LocationRules())


@pytest.mark.parametrize(
    ("name", "centre"),
    [
        ("right frontal horn", (12, 22, 6)),
        ("left body", (-10, -10, 25)),
        ("right atrium", (26, -44, 10)),
        ("left inferior horn", (-38, -24, -14)),
        ("right occipital horn", (30, -58, 5)),
    ],
)
def test_the_ventricles_hold_their_parts(atlas: LocationAtlas, name: str, centre: PointMm) -> None:
    assert atlas.ventricles[tuple(ball(centre, 2).T)].any(), name


@pytest.mark.parametrize(
    ("name", "centre"),
    [
        ("third ventricle", (0, -20, 2)),
        ("fourth ventricle", (0, -46, -32)),
        ("quadrigeminal cistern", (0, -40, 4)),
        ("Sylvian fissure", (42, 5, -2)),
        ("ambient cistern", (20, -28, -16)),
    ],
)
def test_the_ventricles_hold_no_other_fluid(
    atlas: LocationAtlas, name: str, centre: PointMm
) -> None:
    """A lesion at the third ventricle or in the brainstem is not periventricular."""
    assert not atlas.ventricles[tuple(ball(centre, 2).T)].any(), name


@pytest.mark.parametrize(
    ("name", "centre", "inside"),
    [
        ("pons", (0, -26, -32), True),
        ("medulla", (0, -40, -54), True),
        ("midbrain", (6, -24, -12), True),
        ("middle cerebellar peduncle", (18, -42, -34), True),
        ("left cerebellar hemisphere", (-30, -62, -36), True),
        ("superior vermis", (0, -56, -8), True),
        ("thalamus", (10, -18, 8), False),
        ("parahippocampal gyrus", (24, -30, -18), False),
        ("temporal pole", (-40, 8, -30), False),
        ("occipital pole", (14, -95, -4), False),
        ("fusiform gyrus", (40, -50, -16), False),
        ("internal capsule", (-20, -10, 4), False),
    ],
)
def test_the_tentorium_parts_the_brain(
    atlas: LocationAtlas, name: str, centre: PointMm, inside: bool
) -> None:
    share = atlas.infratentorial[tuple(ball(centre, 3).T)].mean()

    assert share > 0.9 if inside else share < 0.1, name


@pytest.mark.parametrize(
    ("name", "centre"),
    [("thalamus", (12, -18, 6)), ("putamen", (27, 4, 2)), ("caudate", (13, 12, 10))],
)
def test_deep_grey_matter_is_no_cortex(atlas: LocationAtlas, name: str, centre: PointMm) -> None:
    assert not atlas.possible_cortex[tuple(ball(centre, 2).T)].any(), name


@pytest.mark.parametrize(
    ("name", "centre", "inside"),
    [
        ("beside the medulla", (-13, -28, -49), True),
        ("before the pons", (11, -20, -43), True),
        ("at the foramen magnum", (-8, -44, -68), True),
        ("temporal pole", (-40, 8, -30), False),
        ("fusiform gyrus", (40, -50, -16), False),
        ("beside the amygdala", (30, -4, -20), False),
        ("thalamus", (10, -18, 8), False),
    ],
)
def test_what_lies_around_the_brainstem_is_no_deep_white_matter(
    atlas: LocationAtlas, name: str, centre: PointMm, inside: bool
) -> None:
    """Seen in patients: marks on the vessels there, some centimetres from any hemisphere."""
    share = atlas.posterior_fossa[tuple(ball(centre, 2).T)].mean()

    assert share > 0.9 if inside else share < 0.1, name


def test_both_sides_are_alike(atlas: LocationAtlas) -> None:
    """The template is symmetric; a lopsided atlas would be a slip of the hand."""
    for mask in (atlas.ventricles, atlas.cortex, atlas.possible_cortex, atlas.posterior_fossa):
        assert np.array_equal(mask, mask[::-1])


@pytest.mark.parametrize(
    ("centre", "location"),
    [
        ((26, -10, 34), Location.DEEP_WHITE_MATTER),
        ((-14, 30, 12), Location.PERIVENTRICULAR),
        ((38, -28, -8), Location.PERIVENTRICULAR),
        ((44, -58, 28), Location.JUXTACORTICAL),
        ((-12, -60, -34), Location.INFRATENTORIAL),
        ((0, -28, -30), Location.INFRATENTORIAL),
    ],
)
def test_a_small_ball_gets_the_class_of_its_place(
    template_locator: Locator, centre: PointMm, location: Location
) -> None:
    assert template_locator.place(ball(centre, 2)).location is location


def phantom(gap: int) -> tuple[Locator, np.ndarray]:
    """A ventricle that fills x <= 0, a cortex from x = 40 mm on, a lesion between them."""
    x = MNI_GRID.affine[0, 3] + np.arange(MNI_GRID.shape[0])
    ventricles = np.broadcast_to((x <= 0)[:, None, None], MNI_GRID.shape).copy()
    cortex = np.broadcast_to((x >= 40)[:, None, None], MNI_GRID.shape).copy()
    nothing = np.zeros(MNI_GRID.shape, dtype=bool)
    locator = Locator(
        Landmarks(ventricles, cortex, nothing), t1w_to_mni=IDENTITY, rules=LocationRules()
    )
    lesion = np.argwhere(mask_of(ball((0, 0, 0), 2)))
    return locator, lesion + np.array([2 + gap, 0, 0])


@pytest.mark.parametrize(
    ("gap", "location", "ventricle_mm", "cortex_mm"),
    [
        (1, Location.PERIVENTRICULAR, 1, 35),
        (3, Location.PERIVENTRICULAR, 3, 33),
        (4, Location.DEEP_WHITE_MATTER, 4, 32),
        (33, Location.DEEP_WHITE_MATTER, 33, 3),
        (34, Location.JUXTACORTICAL, 34, 2),
        (36, Location.JUXTACORTICAL, 36, 0),
    ],
)
def test_distances_decide_at_the_declared_millimetre(
    gap: int, location: Location, ventricle_mm: float, cortex_mm: float
) -> None:
    """The rules are declared in the report: they must hold to the voxel."""
    locator, lesion = phantom(gap)

    place = locator.place(lesion)

    assert place.location is location
    assert place.ventricle_distance_mm == pytest.approx(ventricle_mm)
    assert place.cortex_distance_mm == pytest.approx(cortex_mm)


def test_distances_are_the_patients_own(atlas: LocationAtlas) -> None:
    """In a head that the affine doubled, 6 mm of the template are 3 mm of the patient."""
    landmarks = Landmarks(mask_of(ball((0, 0, 0), 1)), atlas.cortex, atlas.infratentorial)
    doubled = np.diag([2.0, 2.0, 2.0, 1.0])

    locator = Locator(landmarks, t1w_to_mni=doubled, rules=LocationRules())

    assert locator.place(ball((7, 0, 0), 0)).ventricle_distance_mm == pytest.approx(3)


@pytest.mark.parametrize(
    ("x_mm", "side"),
    [
        (range(1, 5), Side.RIGHT),
        (range(-4, 0), Side.LEFT),
        (range(-2, 3), Side.MIDLINE),
        (range(-1, 4), Side.MIDLINE),
        (range(0, 5), Side.RIGHT),
    ],
)
def test_a_side_is_where_most_of_a_lesion_lies(x_mm: range, side: Side) -> None:
    """A callosal lesion across the midline belongs to neither side."""
    voxels = np.array([[x + 90, 100, 90] for x in x_mm])

    assert side_of(voxels, 0.25) is side


def images(fluid: Mask) -> tuple[np.ndarray, np.ndarray]:
    """The template's T1w, with fluid where it is said to be, and a FLAIR to match."""
    template = load_template()
    t1w = np.where(fluid, 0.3, np.maximum(template.t1w, 0.7) * template.brain_mask)
    return t1w.astype(np.float32), np.where(fluid, 0.3, template.brain_mask).astype(np.float32)


def test_ventricles_that_widened_are_the_patients_own(atlas: LocationAtlas) -> None:
    """Atrophy widens ventricles: a lesion at the wall lies far from the template's wall."""
    widened = atlas.ventricles.copy()
    for axis in range(3):
        widened |= np.roll(widened, 3, axis) | np.roll(widened, -3, axis)
    widened &= ~atlas.other_fluid
    t1w, flair = images(widened)
    added = ball((18, -10, 25), 1)

    own = patient_landmarks(atlas, t1w=t1w, flair=flair, lesions=np.zeros_like(widened))

    assert widened[tuple(added.T)].any()
    assert own.ventricles.sum() > 1.5 * atlas.ventricles.sum()
    assert not (own.ventricles & atlas.other_fluid).any()


def test_without_fluid_the_templates_ventricles_stand_in(atlas: LocationAtlas) -> None:
    t1w, flair = images(np.zeros(MNI_GRID.shape, dtype=bool))

    own = patient_landmarks(atlas, t1w=t1w, flair=flair, lesions=np.zeros(MNI_GRID.shape, bool))

    assert np.array_equal(own.ventricles, atlas.ventricles)


def test_a_lesion_is_neither_ventricle_nor_cortex(atlas: LocationAtlas) -> None:
    """An old lesion is as dark as fluid, others as grey as cortex."""
    lesions = mask_of(np.concatenate([ball((14, -10, 25), 4), ball((44, -58, 28), 4)]))
    t1w, flair = images(atlas.ventricles | lesions)

    own = patient_landmarks(atlas, t1w=t1w, flair=flair, lesions=lesions)

    assert not (own.ventricles & lesions).any()
    assert not (own.cortex & lesions).any()


def test_every_class_is_counted_and_each_lesion_once() -> None:
    lesions = report([RIGHT_LESION, LEFT_LESION]).lesions
    placed = tuple(
        lesion.model_copy(update={"location": location})
        for lesion, location in zip(
            lesions, (Location.PERIVENTRICULAR, Location.PERIVENTRICULAR), strict=True
        )
    )

    totals = {item.location: item for item in location_totals(placed)}

    assert list(totals) == list(Location)
    both = totals[Location.PERIVENTRICULAR]
    assert both.lesion_count == 2
    assert both.lesion_volume_ml == pytest.approx(0.243)
    assert (both.right.lesion_count, both.left.lesion_count, both.midline.lesion_count) == (1, 1, 0)
    assert both.left.lesion_volume_ml == pytest.approx(0.027)
    assert sum(item.lesion_count for item in totals.values()) == 2
