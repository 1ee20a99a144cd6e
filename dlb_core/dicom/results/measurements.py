"""The report's numbers as a structured report, DICOM PS3.16's template 1500.

One group for all lesions together, which refers to the segment; then one for each lesion, with its
volume, its diameter and where it lies.
"""

from collections.abc import Sequence

from highdicom.seg import Segmentation
from highdicom.sr import (
    AlgorithmIdentification,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    ReferencedSegment,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dlb_core.dicom.reference import Reference
from dlb_core.dicom.results.maker import (
    ABNORMAL,
    ALGORITHM,
    BRAIN,
    LESION_OF_BRAIN,
    MANUFACTURER,
    MODEL_NAME,
    MRI_OF_BRAIN,
    REPORT_SERIES,
    Maker,
)
from dlb_core.report.document import Lesion, Side

OWN = "99DLB"
"""Our coding scheme, for what the standard has no code for."""
VOLUME = Code("118565006", "SCT", "Volume")
DIAMETER = Code("81827009", "SCT", "Diameter")
MAXIMUM = Code("56851009", "SCT", "Maximum")
NUMBER_OF_LESIONS = Code("246206008", "SCT", "Number of lesions")
LESION_LOAD = Code("lesion-load", OWN, "Lesion volume over volume of the brain mask")
LOCATION = Code("location", OWN, "Location class")
ML = Code("ml", "UCUM", "milliliter")
MM3 = Code("mm3", "UCUM", "cubic millimeter")
MM = Code("mm", "UCUM", "millimeter")
ONE = Code("1", "UCUM", "no units")
PERCENT = Code("%", "UCUM", "Percent")
SIDES = {
    Side.LEFT: Code("7771000", "SCT", "Left"),
    Side.RIGHT: Code("24028007", "SCT", "Right"),
}


def measurement_report(
    segmented: Segmentation, reference: Reference, maker: Maker
) -> ComprehensiveSR:
    """Make the object.

    Parameters
    ----------
    segmented : Segmentation
        The lesions, which the totals refer to.
    reference : Reference
    maker : Maker
    """
    device = DeviceObserverIdentifyingAttributes(
        uid=maker.uid("device"),
        name=ALGORITHM,
        manufacturer_name=MANUFACTURER,
        model_name=MODEL_NAME,
        serial_number=maker.serial,
    )
    observer = ObserverContext(
        observer_type=codes.DCM.Device, observer_identifying_attributes=device
    )
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=MRI_OF_BRAIN,
        imaging_measurements=[_totals(segmented, maker), *_lesions(maker)],
    )
    made = ComprehensiveSR(
        evidence=[segmented, *reference.headers],
        content=content[0],
        series_instance_uid=maker.uid("report series"),
        series_number=REPORT_SERIES,
        sop_instance_uid=maker.uid("report"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    made.SeriesDescription = "MS lesion measurements (DeepLesionBrain, research use only)"
    return made


def _totals(
    segmented: Segmentation, maker: Maker
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    """All lesions together, and the segment that holds them."""
    totals = maker.report.totals
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=maker.uid("lesions"), identifier="All MS lesions"
        ),
        referenced_segment=ReferencedSegment(
            sop_class_uid=segmented.SOPClassUID,
            sop_instance_uid=segmented.SOPInstanceUID,
            segment_number=1,
            source_series=SourceSeriesForSegmentation(maker.series_uid),
        ),
        finding_category=ABNORMAL,
        finding_type=LESION_OF_BRAIN,
        finding_sites=[FindingSite(anatomic_location=BRAIN)],
        algorithm_id=AlgorithmIdentification(name=ALGORITHM, version=maker.version),
        measurements=[
            _measurement(NUMBER_OF_LESIONS, totals.lesion_count, ONE),
            _measurement(VOLUME, totals.lesion_volume_ml, ML),
            _measurement(LESION_LOAD, totals.lesion_load_percent, PERCENT),
        ],
    )


def _lesions(maker: Maker) -> Sequence[MeasurementsAndQualitativeEvaluations]:
    """Each lesion of the report's table."""
    return [_lesion(lesion, maker) for lesion in maker.report.lesions]


def _lesion(lesion: Lesion, maker: Maker) -> MeasurementsAndQualitativeEvaluations:
    words = lesion.location.value.replace("_", " ")
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=maker.uid(f"lesion {lesion.id}"), identifier=f"Lesion {lesion.id}"
        ),
        finding_category=ABNORMAL,
        finding_type=LESION_OF_BRAIN,
        finding_sites=[FindingSite(anatomic_location=BRAIN, laterality=SIDES.get(lesion.side))],
        measurements=[
            _measurement(VOLUME, lesion.volume_mm3, MM3),
            _measurement(DIAMETER, lesion.largest_diameter_mm, MM, derivation=MAXIMUM),
        ],
        qualitative_evaluations=[
            QualitativeEvaluation(LOCATION, Code(lesion.location.value[:16], OWN, words))
        ],
    )


def _measurement(
    name: Code, value: float, unit: Code, *, derivation: Code | None = None
) -> Measurement:
    return Measurement(name=name, value=round(value, 4), unit=unit, derivation=derivation)
