"""Remove the slow brightness drift of the receiving coils: N4.

Source: Tustison et al., IEEE TMI 29 (2010) 1310-1320.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import SimpleITK as sitk  # noqa: N813  # the name everyone knows it by

from dlb_core.preprocessing.simpleitk import array_from_itk, to_itk
from dlb_core.volume import Mask, Volume

_SHRINK = 4
"""The field is smooth: every fourth voxel along each axis tells as much."""


def correct_bias(volume: Volume, mask: Mask) -> Volume:
    """Divide an image by its bias field.

    Parameters
    ----------
    volume : Volume
        (I, J, K), not negative.
    mask : (I, J, K) bool
        The brain: the field is fitted there.

    Returns
    -------
    Volume
        float32, zero outside the mask.
    """
    image = to_itk(Volume(np.asarray(volume.data, dtype=np.float32), volume.affine))
    # N4 takes logarithms: voxels of zero tell nothing about the field.
    inside = to_itk(Volume((mask & (volume.data > 0)).astype(np.uint8), volume.affine))
    with _one_thread():
        filter_ = sitk.N4BiasFieldCorrectionImageFilter()
        filter_.Execute(sitk.Shrink(image, [_SHRINK] * 3), sitk.Shrink(inside, [_SHRINK] * 3))
        log_field = array_from_itk(filter_.GetLogBiasFieldAsImage(image))
    data = np.where(mask, volume.data / np.exp(log_field), 0)
    return Volume(data.astype(np.float32), volume.affine)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep ITK to one thread: its sums over voxels depend on how many share the work.

    N4's inner filters ignore its own setting and take the global one.
    """
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
