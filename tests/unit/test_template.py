"""The template and its grid."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from dlb_core.errors import TemplateCorrupt
from dlb_core.template import MNI_GRID, load_coarse_t1w, load_template, read_template


def test_the_grid_is_the_one_the_geometry_is_derived_for() -> None:
    """Subvolumes and mirroring are voxel arithmetic on this lattice."""
    last = MNI_GRID.affine @ [*(n - 1 for n in MNI_GRID.shape), 1]

    assert MNI_GRID.shape == (181, 217, 181)
    assert MNI_GRID.affine[:3, 3].tolist() == [-90, -126, -72]
    assert last[:3].tolist() == [90, 90, 108]


def test_voxel_90_in_x_is_the_plane_of_symmetry() -> None:
    """Networks serve both hemispheres only if i -> 180 - i is the mirror."""
    template = load_template()

    np.testing.assert_array_equal(template.t1w, template.t1w[::-1])
    np.testing.assert_array_equal(template.brain_mask, template.brain_mask[::-1])


def test_the_crop_loses_no_brain() -> None:
    """Sides and top are empty; the neck is cut by the template's own floor."""
    mask = load_template().brain_mask

    for face in (mask[0], mask[-1], mask[:, 0], mask[:, -1], mask[:, :, -1]):
        assert not face.any()


def test_tissue_maps_are_probabilities_where_the_brain_is() -> None:
    """White and grey matter together fill most of the brain, with white brighter in T1w."""
    template = load_template()
    white, grey = template.white_matter > 0.9, template.grey_matter > 0.9

    assert 0 <= template.white_matter.min() < template.white_matter.max() <= 1
    tissue = template.white_matter + template.grey_matter > 0.5
    assert tissue[template.brain_mask].mean() > 0.8
    assert template.brain_mask[white | grey].mean() > 0.99
    assert template.t1w[white].mean() > template.t1w[grey].mean() + 0.1


def test_arrays_cannot_be_changed_by_a_caller() -> None:
    """They are shared: one caller's slip would move everybody's registration."""
    with pytest.raises(ValueError, match="read-only"):
        load_template().t1w[0, 0, 0] = 1


def test_the_coarse_template_lies_where_the_fine_one_does() -> None:
    """Half a voxel's slip here would shift every case's registration by a millimetre."""
    fine, coarse = load_template().t1w, load_coarse_t1w()

    def centre(data: np.ndarray, affine: np.ndarray) -> np.ndarray:
        weights = data.astype(np.float64)
        index = np.indices(data.shape).reshape(3, -1) @ weights.ravel() / weights.sum()
        return affine[:3, :3] @ index + affine[:3, 3]

    np.testing.assert_allclose(
        centre(coarse.data, coarse.affine), centre(fine, MNI_GRID.affine), atol=1e-3
    )


def _copy(folder: Path) -> list[Path]:
    spec = find_spec("nilearn")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).parent / "datasets" / "data"
    return [Path(shutil.copy(path, folder)) for path in source.glob("mni_icbm152_*")]


def test_an_altered_template_is_refused(tmp_path: Path) -> None:
    """Another version of the template would shift every mask a little, silently."""
    file = next(path for path in _copy(tmp_path) if "_wm_" in path.name)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)

    with pytest.raises(TemplateCorrupt, match="wm file is not the known one"):
        read_template(tmp_path)


def test_a_missing_template_is_refused(tmp_path: Path) -> None:
    """The message tells the operator what to install."""
    with pytest.raises(TemplateCorrupt, match=r"missing: reinstall nilearn"):
        read_template(tmp_path)
