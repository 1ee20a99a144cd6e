"""The report as a FHIR R4 bundle: a DiagnosticReport, its Observations, the Device that made it.

Names of measures are a code system of our own, since no public one has them; what is public is
coded publicly: LOINC for the study, UCUM for units, SNOMED CT for the brain, HL7 for categories.
The status is `preliminary`: no person has verified it. The same report gives the same bundle.

Source: HL7 FHIR R4 (4.0.1), https://hl7.org/fhir/R4/.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID, uuid5

from dlb_core.artefacts import REPORT_HTML, REPORT_PDF, media_type
from dlb_core.report import wording
from dlb_core.report.document import Lesion, LocationTotals, Report, SideTotals

MEASURES = "urn:deeplesionbrain:measures"
"""System of the measures' codes; docs/report.md lists them."""
CLASSES = "urn:deeplesionbrain:location-classes"
LOINC, UCUM, SNOMED = (
    "http://loinc.org",
    "http://unitsofmeasure.org",
    "http://snomed.info/sct",
)
HL7 = "http://terminology.hl7.org/CodeSystem"
_BUNDLES = UUID("5a3a4f3e-55a1-5f0c-9d5c-7f6d1d1b7575")
"""Any fixed one: bundles' own names are made from it."""

Resource = dict[str, Any]


def fhir_bundle(report: Report) -> str:
    """Write a report as FHIR.

    Parameters
    ----------
    report : Report

    Returns
    -------
    str
        JSON of a Bundle of type `collection`.
    """
    name = uuid5(_BUNDLES, report.model_dump_json())
    device = _entry(name, "device", _device(report))
    lesions = [
        _entry(name, f"lesion-{lesion.id}", _lesion(lesion, report, device))
        for lesion in report.lesions
    ]
    totals = [
        _entry(name, code, observation) for code, observation in _totals(report, device, lesions)
    ]
    summary = _entry(name, "report", _diagnostic_report(report, [*totals, *lesions], device))
    bundle = {
        "resourceType": "Bundle",
        "id": str(name),
        "type": "collection",
        "timestamp": report.created,
        "entry": [summary, device, *totals, *lesions],
    }
    return json.dumps(bundle, ensure_ascii=False) + "\n"


def _entry(bundle: UUID, name: str, resource: Resource) -> Resource:
    own = uuid5(bundle, name)
    head = {"resourceType": resource["resourceType"], "id": str(own)}
    return {"fullUrl": f"urn:uuid:{own}", "resource": head | resource}


def _diagnostic_report(report: Report, results: Sequence[Resource], device: Resource) -> Resource:
    return {
        "resourceType": "DiagnosticReport",
        "status": "preliminary",
        "category": [_coded(f"{HL7}/v2-0074", "NMR", "Nuclear Magnetic Resonance")],
        "code": _coded(LOINC, "24590-2", "MR Brain"),
        "subject": _subject(report),
        **_effective(report),
        "issued": report.created,
        "performer": [_reference(device)],
        "result": [_reference(each) for each in results],
        "conclusion": " ".join(
            (f"{wording.headline(report)}.", wording.summary(report), report.research_use)
        ),
        "presentedForm": [
            {"contentType": media_type(form).partition(";")[0], "url": form, "title": form}
            for form in (REPORT_PDF, REPORT_HTML)
        ],
    }


def _device(report: Report) -> Resource:
    model = report.model
    return {
        "resourceType": "Device",
        "deviceName": [
            {"name": "DeepLesionBrain Service", "type": "user-friendly-name"},
            {"name": f"{model.name} {model.version}", "type": "model-name"},
        ],
        "version": [{"value": report.software_version}],
        "identifier": [{"system": "urn:deeplesionbrain:model-sha256", "value": model.sha256}],
        "note": [{"text": report.research_use}],
    }


def _totals(
    report: Report, device: Resource, lesions: Sequence[Resource]
) -> Iterable[tuple[str, Resource]]:
    """The case's own observations, by code."""
    totals = report.totals

    def observe(code: str, text: str, **content: Any) -> tuple[str, Resource]:
        return code, _observation(report, device, code, text, **content)

    yield observe(
        "lesion-count",
        "Lesions",
        valueInteger=totals.lesion_count,
        component=[_component("centre-count", "Lesion centres", valueInteger=totals.centre_count)],
        **({"hasMember": [_reference(each) for each in lesions]} if lesions else {}),
    )
    yield observe(
        "lesion-volume",
        "Lesion volume",
        valueQuantity=_millilitres(totals.lesion_volume_ml),
        component=[
            _component(
                f"lesion-volume-{end}",
                f"Lesion volume, agreement interval, {end} end",
                valueQuantity=_millilitres(value),
            )
            for end, value in (
                ("low", totals.lesion_volume_low_ml),
                ("high", totals.lesion_volume_high_ml),
            )
        ],
    )
    load = _quantity(totals.lesion_load_percent, "%", "%")
    yield observe("lesion-load", "Lesion volume over volume of the brain mask", valueQuantity=load)
    brain = _millilitres(totals.brain_volume_ml)
    yield observe("brain-volume", "Volume of the brain mask", valueQuantity=brain)
    if totals.intracranial_volume_ml is not None:
        skull = _millilitres(totals.intracranial_volume_ml)
        text = "Intracranial volume, estimated (deepbet)"
        yield observe("intracranial-volume", text, valueQuantity=skull)
    for item in report.locations:
        name = wording.LOCATION_NAMES[item.location]
        yield observe(
            f"lesions-{item.location.value.replace('_', '-')}",
            f"Lesions, {name}",
            valueInteger=item.lesion_count,
            component=list(_sides(item)),
        )
    if report.input_trust is not None:
        yield observe(
            "input-trust",
            "Input is like what was tried",
            valueString=report.input_trust.status.value,
        )
    if report.robustness is not None:
        found = report.robustness
        interval = {
            "low": _millilitres(found.lesion_volume_low_ml),
            "high": _millilitres(found.lesion_volume_high_ml),
        }
        yield observe(
            "lesion-volume-robustness", "Lesion volume under alterations", valueRange=interval
        )


def _sides(item: LocationTotals) -> Iterable[Resource]:
    """A class's volume, and its lesions by side."""
    volume = _millilitres(item.lesion_volume_ml)
    yield _component("lesion-volume", "Lesion volume", valueQuantity=volume)
    sides: dict[str, SideTotals] = {
        "left": item.left,
        "right": item.right,
        "midline": item.midline,
    }
    for name, side in sides.items():
        yield _component(f"count-{name}", f"Lesions, {name}", valueInteger=side.lesion_count)
        volume = _millilitres(side.lesion_volume_ml)
        yield _component(f"volume-{name}", f"Lesion volume, {name}", valueQuantity=volume)


def _lesion(lesion: Lesion, report: Report, device: Resource) -> Resource:
    name = wording.LOCATION_NAMES[lesion.location]
    quantities = (
        ("volume", "Volume", lesion.volume_mm3, "mm³", "mm3"),
        ("largest-diameter", "Largest diameter", lesion.largest_diameter_mm, "mm", "mm"),
        (
            "ventricle-distance",
            "Distance to lateral ventricle",
            lesion.ventricle_distance_mm,
            "mm",
            "mm",
        ),
        ("cortex-distance", "Distance to cortex", lesion.cortex_distance_mm, "mm", "mm"),
        ("mean-probability", "Mean probability", lesion.mean_probability, "", "1"),
        ("agreement", "Agreement of the networks", lesion.agreement, "", "1"),
    )
    components = [
        _component(code, text, valueQuantity=_quantity(value, unit, ucum))
        for code, text, value, unit, ucum in quantities
    ]
    components += [
        _component(
            "location-class",
            "Location class",
            valueCodeableConcept=_coded(CLASSES, lesion.location.value, name),
        ),
        _component("side", "Side", valueString=lesion.side.value),
        _component("confidence", "Confidence", valueString=lesion.confidence.value),
        _component("centre-count", "Lesion centres", valueInteger=lesion.centres),
    ]
    components += [
        _component(
            f"mni-{axis}", f"Centroid, MNI152 {axis}", valueQuantity=_quantity(value, "mm", "mm")
        )
        for axis, value in zip("xyz", lesion.centroid_mni_mm, strict=True)
    ]
    text = f"Lesion {lesion.id}"
    return _observation(report, device, "lesion", text, component=components)


def _observation(
    report: Report, device: Resource, code: str, text: str, **content: Any
) -> Resource:
    return {
        "resourceType": "Observation",
        "status": "preliminary",
        "category": [_coded(f"{HL7}/observation-category", "imaging", "Imaging")],
        "code": _coded(MEASURES, code, text),
        "subject": _subject(report),
        **_effective(report),
        "issued": report.created,
        "bodySite": _coded(SNOMED, "12738006", "Brain structure"),
        "device": _reference(device),
        **content,
    }


def _component(code: str, text: str, **value: Any) -> Resource:
    return {"code": _coded(MEASURES, code, text), **value}


def _subject(report: Report) -> Resource:
    """The label that the case was sent with: it names no patient."""
    return {"display": report.label or "Unlabelled case"}


def _effective(report: Report) -> Resource:
    """When what is told was so: on the day of the scan, if that is known."""
    known = report.scan_date
    return {} if known is None else {"effectiveDateTime": known.isoformat()}


def _reference(entry: Resource) -> Resource:
    return {"reference": entry["fullUrl"]}


def _coded(system: str, code: str, text: str) -> Resource:
    return {"coding": [{"system": system, "code": code, "display": text}], "text": text}


def _millilitres(value: float) -> Resource:
    return _quantity(value, "ml", "mL")


def _quantity(value: float, unit: str, ucum: str) -> Resource:
    return {"value": value, "system": UCUM, "code": ucum, **({"unit": unit} if unit else {})}
