"""Numbers and sentences of the report read right, in every case that can come."""

import pytest

from dlb_core.report import wording
from dlb_core.report.document import Location, LocationRules
from tests.unit.reports import LEFT_LESION, RIGHT_LESION, report

NARROW = "\u202f"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0, 0, "0"),
        (-0.3, 0, "0"),
        (-12.4, 0, "−12"),
        (1561.4, 0, f"1{NARROW}561"),
        (0.005, 2, "0.01"),
        (12.345, 1, "12.3"),
    ],
)
def test_numbers_are_written_for_people(value: float, digits: int, text: str) -> None:
    """No minus before zero, thousands apart, a minus that is not a hyphen."""
    assert wording.number(value, digits) == text


@pytest.mark.parametrize(
    ("ml", "text"), [(0.0, "0.00"), (0.002, "< 0.01"), (0.243, "0.24"), (12.32, "12.3")]
)
def test_small_volumes_keep_their_digits(ml: float, text: str) -> None:
    assert wording.millilitres(ml) == text


def test_a_time_of_another_zone_is_given_in_utc() -> None:
    assert wording.moment("2026-03-12T14:05:31+02:00") == "12 March 2026, 12:05 UTC"


def test_a_time_that_is_none_is_left_as_it_is() -> None:
    assert wording.moment("yesterday") == "yesterday"


def test_one_lesion_is_not_spoken_of_in_the_plural() -> None:
    case = report([RIGHT_LESION])

    assert wording.headline(case) == "1 lesion, 0.22 ml"
    assert wording.summary(case).startswith("The lesion measures 0.22 ml")
    assert "By place" not in wording.summary(case)


def test_a_lesion_of_few_voxels_is_not_said_to_be_nothing() -> None:
    """A lesion of 0.00 ml that takes up 0.00 % of the brain makes a reader doubt the rest."""
    case = report([RIGHT_LESION])
    lesion = case.lesions[0].model_copy(update={"volume_mm3": 3.27})
    totals = case.totals.model_copy(
        update={"lesion_volume_ml": 0.00327, "lesion_load_percent": 0.0003}
    )
    case = case.model_copy(update={"lesions": (lesion,), "totals": totals})

    assert wording.headline(case) == "1 lesion, 3.3 mm³"
    assert wording.summary(case).startswith(
        "The lesion measures 3.3 mm³ and takes up less than 0.01 % of an intracranial volume"
    )


def test_several_lesions_name_the_largest() -> None:
    summary = wording.summary(report([RIGHT_LESION, LEFT_LESION]))

    assert "The largest measures 0.22 ml. By place: " in summary


def test_no_lesion_names_the_limit_below_which_nothing_is_said() -> None:
    assert "at least 3 mm³" in wording.summary(report([]))


def test_the_rules_are_said_in_the_declared_millimetres() -> None:
    rules = wording.location_rules(LocationRules(periventricular_mm=4.5, juxtacortical_mm=1.0))

    assert "4.5 mm of a lateral ventricle" in rules[Location.PERIVENTRICULAR]
    assert "1 mm of the cerebral cortex" in rules[Location.JUXTACORTICAL]
    assert set(rules) == set(Location)


@pytest.mark.parametrize(
    ("ml", "text"), [(0.0, "0.00"), (0.003, "< 0.01"), (0.005, "0.01"), (4.684, "4.68")]
)
def test_what_is_there_is_never_written_as_nought(ml: float, text: str) -> None:
    assert wording.hundredths(ml) == text


def test_size_classes_hold_every_lesion_once() -> None:
    lesion = report([RIGHT_LESION]).lesions[0]
    volumes = (3.0, 9.9, 10.0, 100.0, 500.0, 1000.0, 40000.0)
    lesions = [lesion.model_copy(update={"volume_mm3": volume}) for volume in volumes]

    classes = wording.size_classes(lesions)

    assert [size.count for size in classes] == [2, 1, 2, 2]
    assert sum(size.volume_ml for size in classes) == pytest.approx(sum(volumes) / 1000)
    assert max(size.share for size in classes) == 1
