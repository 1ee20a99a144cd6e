"""Our volumes as SimpleITK images, and back.

ITK stores arrays (k, j, i) and its world is LPS+: x and y point the other way from ours.
"""

from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813  # the name everyone knows it by
from numpy.typing import NDArray

from dlb_core.volume import Affine, Volume

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def to_itk(volume: Volume) -> Any:
    """The same voxels at the same places. The affine must not shear."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.data.transpose(2, 1, 0)))
    spacing, direction, origin = _decompose(_RAS_TO_LPS @ volume.affine)
    image.SetSpacing(spacing.tolist())
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin(origin.tolist())
    return image


def array_from_itk(image: Any) -> NDArray[Any]:
    """The image's array, indexed (i, j, k)."""
    return np.ascontiguousarray(sitk.GetArrayFromImage(image).transpose(2, 1, 0))


def _decompose(affine: Affine) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    # The nearest rotation: headers round, ITK insists.
    left, _, right = np.linalg.svd(affine[:3, :3] / spacing)
    return spacing, left @ right, affine[:3, 3]
