"""The FHIR bundle is valid R4 by HL7's own definitions, whole, and says what the report says."""

import json
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle

from dlb_core.report.document import AlteredRun, Report, Robustness
from dlb_core.report.fhir import MEASURES, fhir_bundle
from tests.unit.reports import LEFT_LESION, RIGHT_LESION, report


def robust(case: Report) -> Report:
    """As if the altered runs had been asked for."""
    run = AlteredRun(
        name="blur", title="blurred", lesion_count=1, lesion_volume_ml=0.2, overlap_dice=0.8
    )
    found = Robustness(lesion_volume_low_ml=0.2, lesion_volume_high_ml=0.3, runs=(run,))
    return case.model_copy(update={"robustness": found})


CASES = {
    "lesions": report([RIGHT_LESION, LEFT_LESION]),
    "none": report([]),
    "unlabelled": report([RIGHT_LESION], label=""),
    "robust": robust(report([RIGHT_LESION])),
}


def resources(case: Report, kind: str) -> list[dict[str, Any]]:
    entries = json.loads(fhir_bundle(case))["entry"]
    return [e["resource"] for e in entries if e["resource"]["resourceType"] == kind]


def observation(case: Report, code: str) -> dict[str, Any]:
    (found,) = [o for o in resources(case, "Observation") if own_code(o) == code]
    return found


def own_code(item: dict[str, Any]) -> str:
    ((system, code),) = [(c["system"], c["code"]) for c in item["code"]["coding"]]
    assert system == MEASURES
    return str(code)


@pytest.mark.parametrize("name", list(CASES))
def test_the_bundle_is_valid(name: str) -> None:
    """Another system's parser must not stumble: every resource is checked by its definition."""
    bundle = Bundle.model_validate_json(fhir_bundle(CASES[name]))

    kinds = [entry.resource.get_resource_type() for entry in bundle.entry]
    assert kinds[:2] == ["DiagnosticReport", "Device"]
    assert set(kinds[2:]) == {"Observation"}


@pytest.mark.parametrize("name", list(CASES))
def test_every_reference_leads_to_a_resource_of_the_bundle(name: str) -> None:
    """And none is left over that the report does not name."""
    text = fhir_bundle(CASES[name])
    bundle = json.loads(text)
    named = {entry["fullUrl"] for entry in bundle["entry"]}
    head = bundle["entry"][0]["resource"]

    assert len(named) == len(bundle["entry"])
    assert {result["reference"] for result in head["result"]} == {
        entry["fullUrl"] for entry in bundle["entry"][2:]
    }
    assert _references(bundle) <= named


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["reference"]} if isinstance(value.get("reference"), str) else set()
        return own.union(*(_references(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(_references(item) for item in value))
    return set()


def test_the_totals_are_the_reports() -> None:
    case = CASES["robust"]
    volume = observation(case, "lesion-volume")

    assert volume["valueQuantity"]["value"] == case.totals.lesion_volume_ml
    assert volume["valueQuantity"]["code"] == "mL"
    assert observation(case, "lesion-count")["valueInteger"] == 1
    assert observation(case, "lesion-load")["valueQuantity"]["value"] == pytest.approx(
        case.totals.lesion_load_percent
    )
    assert observation(case, "lesion-volume-robustness")["valueRange"]["high"]["value"] == 0.3


def test_each_lesion_has_its_measures() -> None:
    case = CASES["lesions"]
    found = [o for o in resources(case, "Observation") if own_code(o) == "lesion"]

    assert len(found) == 2
    for lesion, item in zip(case.lesions, found, strict=True):
        parts = {own_code(part): part for part in item["component"]}
        assert parts["volume"]["valueQuantity"]["value"] == lesion.volume_mm3
        place = parts["location-class"]["valueCodeableConcept"]["coding"][0]["code"]
        assert place == lesion.location.value
        assert parts["mni-x"]["valueQuantity"]["value"] == lesion.centroid_mni_mm[0]


def test_it_is_preliminary_and_for_research() -> None:
    """No receiving system may take it for a finding that somebody signed."""
    (head,) = resources(CASES["none"], "DiagnosticReport")

    assert head["status"] == "preliminary"
    assert "research use only" in head["conclusion"]
    assert "No lesion found" in head["conclusion"]


def test_the_same_report_gives_the_same_bundle() -> None:
    """Sent twice, it must not become two."""
    assert fhir_bundle(CASES["lesions"]) == fhir_bundle(CASES["lesions"])
    assert fhir_bundle(CASES["lesions"]) != fhir_bundle(CASES["none"])
