"""The lesions as a DICOM Segmentation object on the FLAIR series' own images."""

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)
from numpy.typing import NDArray
from pydicom.sr.codedict import codes

from dlb_core.dicom.reference import Reference
from dlb_core.dicom.results.maker import (
    ABNORMAL,
    ALGORITHM,
    BRAIN,
    LESION_OF_BRAIN,
    SEGMENTATION_SERIES,
    Maker,
)

LABEL = "MS lesions"


def segmentation(mask: NDArray[np.bool_], reference: Reference, maker: Maker) -> Segmentation:
    """Make the object.

    Parameters
    ----------
    mask : (images, rows, columns) bool
        On the FLAIR series' images, in the order of `reference.headers`.
    reference : Reference
    maker : Maker

    Returns
    -------
    Segmentation
        Binary, one segment. Images without a lesion have no frame, unless none has one.
    """
    algorithm = AlgorithmIdentificationSequence(
        name=ALGORITHM, family=codes.DCM.ArtificialIntelligence, version=maker.version
    )
    description = SegmentDescription(
        segment_number=1,
        segment_label=LABEL,
        segmented_property_category=ABNORMAL,
        segmented_property_type=LESION_OF_BRAIN,
        algorithm_type=(
            SegmentAlgorithmTypeValues.SEMIAUTOMATIC
            if maker.report.corrections
            else SegmentAlgorithmTypeValues.AUTOMATIC
        ),
        algorithm_identification=algorithm,
        tracking_uid=maker.uid("lesions"),
        tracking_id=LABEL,
        anatomic_regions=[BRAIN],
    )
    made = Segmentation(
        source_images=list(reference.headers),
        pixel_array=mask.astype(np.uint8),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[description],
        series_instance_uid=maker.uid("segmentation series"),
        series_number=SEGMENTATION_SERIES,
        sop_instance_uid=maker.uid("segmentation"),
        instance_number=1,
        software_versions=maker.version,
        device_serial_number=maker.serial,
        omit_empty_frames=bool(mask.any()),
        content_label="MS_LESIONS",
        content_description="Lesions found by DeepLesionBrain, research use only",
        **maker.equipment,
    )
    made.SeriesDescription = "MS lesions (DeepLesionBrain, research use only)"
    return made
