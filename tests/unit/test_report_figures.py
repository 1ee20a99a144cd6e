"""Pictures show the right slices, the right way round."""

import base64
from io import BytesIO

import numpy as np
from PIL import Image

from dlb_core.lesions import label_lesions
from dlb_core.report.document import Location
from dlb_core.report.figures import colour_scale, draw_figures, mosaic
from dlb_core.report.glass_brain import SHADES
from dlb_core.report.pictures import ENLARGEMENT, encode, grey_levels, outline, svg_path
from dlb_core.report.planes import Plane, Window, brain_window, cut
from dlb_core.report.slices import (
    FEWEST_SLICES,
    MINIMUM_GAP,
    MOST_SLICES,
    choose_slices,
    lesion_areas,
)
from dlb_core.template import MNI_GRID
from tests.unit.reports import BRAIN, LEFT_LESION, RIGHT_LESION, lesion_mask, material, report

WHOLE = Window((0, 0, 0), MNI_GRID.shape)


def pixels(uri: str) -> np.ndarray:
    """The raster of a data URI."""
    return np.asarray(Image.open(BytesIO(base64.b64decode(uri.split(",")[1]))).convert("L"))


def test_axial_slices_show_the_right_on_the_left_and_the_front_on_top() -> None:
    """A mirrored picture sends the reader to the wrong hemisphere."""
    volume = np.zeros(MNI_GRID.shape)
    volume[170, 200, 90] = 1  # Right, front.

    ((row, column),) = np.argwhere(cut(volume, Plane.AXIAL, 90, WHOLE))

    assert row < 30
    assert column < 30


def test_coronal_slices_show_the_right_on_the_left_and_the_top_on_top() -> None:
    volume = np.zeros(MNI_GRID.shape)
    volume[170, 100, 170] = 1  # Right, top.

    ((row, column),) = np.argwhere(cut(volume, Plane.CORONAL, 100, WHOLE))

    assert row < 30
    assert column < 30


def test_sagittal_slices_show_the_front_on_the_left_and_the_top_on_top() -> None:
    volume = np.zeros(MNI_GRID.shape)
    volume[90, 200, 170] = 1  # Front, top.

    ((row, column),) = np.argwhere(cut(volume, Plane.SAGITTAL, 90, WHOLE))

    assert row < 30
    assert column < 30


def test_the_window_holds_the_brain_and_a_margin() -> None:
    window = brain_window(lesion_mask([BRAIN]), margin=5)

    assert window == Window((15, 15, 5), (165, 195, 155))


def test_without_a_brain_the_window_is_the_whole_grid() -> None:
    assert brain_window(lesion_mask([])) == WHOLE


def slices_of(mask: np.ndarray) -> list[int]:
    return choose_slices(lesion_areas(label_lesions(mask)), lesion_mask([BRAIN]))


def test_the_slice_with_most_lesion_is_shown() -> None:
    mask = lesion_mask([RIGHT_LESION])
    mask[100:130, 80:110, 92] = True

    assert 92 in slices_of(mask)


def test_slices_are_apart_and_in_order_from_the_top() -> None:
    chosen = slices_of(lesion_mask([RIGHT_LESION, LEFT_LESION]))

    steps = -np.diff(chosen)
    assert (steps >= MINIMUM_GAP).all()
    assert any(k in range(90, 96) for k in chosen)
    assert any(k in range(70, 73) for k in chosen)


def test_the_slices_pass_through_every_lesion() -> None:
    """A small lesion beside a large one in another slice would go unseen."""
    mask = lesion_mask([RIGHT_LESION])
    mask[40:100, 60:120, 50:54] = True
    for n, k in enumerate(range(57, 125, 4)):
        mask[60 + 5 * (n % 2) : 62 + 5 * (n % 2), 150, k : k + 2] = True
    labels = label_lesions(mask)

    chosen = choose_slices(lesion_areas(labels), lesion_mask([BRAIN]))

    seen = set(np.unique(labels[:, :, chosen])) - {0}
    assert FEWEST_SLICES < len(chosen) <= MOST_SLICES
    assert seen == set(range(1, labels.max() + 1))


def test_more_lesions_than_slices_are_counted_as_unseen() -> None:
    """What the pictures leave out must be said."""
    boxes = [(slice(60, 62), slice(150, 152), slice(k, k + 2)) for k in range(20, 120, 3)]
    case = material(boxes)
    chosen = choose_slices(lesion_areas(case.labels), case.brain_mask)

    assert len(chosen) == MOST_SLICES
    assert sum(len(picture.marks) for picture in mosaic(case)) == MOST_SLICES


def test_without_lesions_slices_spread_over_the_brain() -> None:
    """A reader of "no lesion found" must be able to look for themselves."""
    chosen = slices_of(lesion_mask([]))

    assert len(chosen) == FEWEST_SLICES
    assert max(chosen) > 130
    assert min(chosen) < 30


def test_each_shown_lesion_is_numbered_once() -> None:
    pictures = mosaic(material([RIGHT_LESION, LEFT_LESION]))

    assert sorted(mark.text for picture in pictures for mark in picture.marks) == ["1", "2"]


def test_a_lesion_on_the_right_is_outlined_and_numbered_on_the_pictures_left() -> None:
    """The whole chain from labels to page, in one picture."""
    (picture,) = [p for p in mosaic(material([RIGHT_LESION])) if p.marks]

    (mark,) = picture.marks
    assert (picture.left, picture.right) == ("R", "L")
    assert mark.x < picture.width / 2
    first = picture.outlines.removeprefix("M").split(" ")[0]
    assert float(first.split(",")[0]) < picture.width / 2


def test_the_raster_is_bright_where_the_outline_is() -> None:
    """Raster and overlay come by different ways; they must meet."""
    (picture,) = [p for p in mosaic(material([RIGHT_LESION])) if p.marks]
    numbers = picture.outlines.removeprefix("M").removesuffix("Z").replace(",", " ").split()
    columns, rows = np.array(numbers, dtype=float).reshape(-1, 2).T
    image = pixels(picture.source)

    x, y = (int(values.mean() * ENLARGEMENT) for values in (columns, rows))

    assert image.shape == (picture.height * ENLARGEMENT, picture.width * ENLARGEMENT)
    assert image[y, x] > 230
    assert image[y, image.shape[1] - x] < 180


def test_a_picture_says_in_words_what_it_shows() -> None:
    shown = {p.caption: p.alt for p in mosaic(material([RIGHT_LESION]))}

    with_lesion = {
        z for z in range(-62, 78) if "1 lesion outlined" in shown.get(f"z = {z:+d} mm", "")
    }
    assert with_lesion
    assert with_lesion <= set(range(18, 24))
    assert any("no lesion outlined" in alt for alt in shown.values())


def test_an_outline_runs_half_way_between_voxel_centres() -> None:
    """One voxel is drawn as the diamond through its edges' middles."""
    section = np.zeros((5, 5), dtype=bool)
    section[2, 3] = True

    (polygon,) = outline(section)

    assert set(polygon) == {(3.5, 2), (4, 2.5), (3.5, 3), (3, 2.5)}
    assert svg_path((polygon,)).count(" ") == 3


def test_a_lesion_at_the_pictures_edge_has_a_closed_outline() -> None:
    section = np.zeros((4, 4), dtype=bool)
    section[0, 0] = True

    assert svg_path(outline(section)).count("Z") == 1


def test_no_lesion_has_no_outline() -> None:
    assert outline(np.zeros((4, 4), dtype=bool)) == ()


def test_grey_levels_clip_instead_of_wrapping_round() -> None:
    """A very bright lesion must not turn black."""
    levels = grey_levels(np.array([[-1.0, 0.0, 1.0, 2.0, 9.0]]), white=2.0)

    assert levels.tolist() == [[0, 0, 128, 255, 255]]


def test_the_same_pixels_give_the_same_bytes() -> None:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)

    assert encode(image) == encode(image.copy())


def test_the_largest_lesion_is_seen_in_three_planes_on_three_maps() -> None:
    boxes = [RIGHT_LESION, LEFT_LESION]

    figures = draw_figures(material(boxes), report(boxes).lesions)

    assert [len(row) for row in figures.largest] == [3, 3, 3]
    assert all(picture.outlines for row in figures.largest for picture in row)


def test_without_lesions_there_is_no_largest_one() -> None:
    figures = draw_figures(material([]), ())

    assert figures.largest == ()
    assert len(figures.projections) == 3
    assert not any(picture.outlines for picture in figures.projections)


def test_a_projection_shows_every_lesion_in_each_direction() -> None:
    boxes = [RIGHT_LESION, LEFT_LESION]

    figures = draw_figures(material(boxes), report(boxes).lesions)

    assert [picture.outlines.count("Z") for picture in figures.projections] == [2, 2, 2]


def test_the_colour_scale_gets_brighter() -> None:
    """Printed in grey, more must still look like more."""
    colours = [bytes.fromhex(colour.removeprefix("#")) for colour in colour_scale()]

    luminance = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in colours]
    assert luminance == sorted(luminance)


def test_the_glass_brain_shades_each_lesion_by_its_class() -> None:
    """Two classes, each in its own shade, once in every direction."""
    right, left = report([RIGHT_LESION, LEFT_LESION]).lesions
    lesions = (
        right.model_copy(update={"location": Location.PERIVENTRICULAR}),
        left.model_copy(update={"location": Location.JUXTACORTICAL}),
    )

    views = draw_figures(material([RIGHT_LESION, LEFT_LESION]), lesions).glass

    assert [view.caption for view in views] == ["axial", "coronal", "sagittal"]
    for view in views:
        shapes = {shape.colour: shape for shape in view.shapes}
        assert set(shapes) == {
            SHADES[Location.PERIVENTRICULAR],
            SHADES[Location.JUXTACORTICAL],
        }
        assert all(len(shape.polygons) == 1 for shape in shapes.values())
        assert view.brain
        assert view.landmarks
    (right_shape,) = [s for s in views[0].shapes if s.colour == SHADES[Location.PERIVENTRICULAR]]
    assert max(x for x, _ in right_shape.polygons[0]) < views[0].width / 2


def test_the_shades_differ_in_grey_too() -> None:
    colours = [bytes.fromhex(shade.removeprefix("#")) for shade in SHADES.values()]

    luminance = sorted(0.299 * r + 0.587 * g + 0.114 * b for r, g, b in colours)
    assert min(np.diff(luminance)) > 35
