"""Which series is taken for the T1w and which for the FLAIR, and what is said of the others."""

import re
from typing import Any

import pytest
from dicom_kit import FLAIR, T1W, flair, phantom, series, t1w
from pydicom.dataset import Dataset

from dlb_core.dicom.choose import Choice, choose
from dlb_core.dicom.headers import ENHANCED_MR_IMAGE, instance_of
from dlb_core.dicom.rules import Kind, judge
from dlb_core.dicom.series import Series, group
from dlb_core.errors import SeriesAmbiguous, SeriesMissing


def grouped(images: list[Dataset]) -> list[Series]:
    """Series of images at hand."""
    found = [instance_of(image) for image in images]
    return group(one for one in found if one is not None)


def chosen(images: list[Dataset], **named: int) -> Choice:
    """Choose from one study."""
    kinds: dict[str, Kind] = {"t1w": "T1w", "flair": "FLAIR"}
    return choose({None: grouped(images)}, {kinds[name]: n for name, n in named.items()})


def numbers(choice: Choice) -> tuple[int | None, int | None]:
    """Series numbers of the T1w and the FLAIR."""
    return choice.t1w.number, choice.flair.number


OTHERS = {
    "localiser": (T1W | {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localiser"),
    "scout by name": (T1W | {"SeriesDescription": "AAHead_Scout t1"}, "a localiser"),
    "post-contrast by agent": (T1W | {"ContrastBolusAgent": "Gadovist"}, "after contrast agent"),
    "post-contrast by name": (T1W | {"SeriesDescription": "t1_mprage_Gd"}, "after contrast agent"),
    "c+": (T1W | {"SeriesDescription": "AX T1 +C"}, "after contrast agent"),
    "reformat": (FLAIR | {"ImageType": ["DERIVED", "PRIMARY", "MPR"]}, "derived"),
    "secondary": (FLAIR | {"ImageType": ["ORIGINAL", "SECONDARY"]}, "derived"),
    "subtraction": (T1W | {"SeriesDescription": "t1 sub"}, "derived"),
    "phase": (T1W | {"ImageType": ["ORIGINAL", "PRIMARY", "P"]}, "not a magnitude"),
    "report": (T1W | {"Modality": "SR"}, "not MR images"),
    "enhanced": (FLAIR | {"SOPClassUID": ENHANCED_MR_IMAGE}, "multi-frame"),
    "STIR": (FLAIR | {"SeriesDescription": "stir", "InversionTime": 160.0}, "leaves fluid bright"),
    "T2": (
        {"SeriesDescription": "t2_tse", "ScanningSequence": "SE", "EchoTime": 100.0},
        "T2-weighted",
    ),
    "TOF": (
        {
            "SeriesDescription": "tof_fl3d",
            "ScanningSequence": "GR",
            "EchoTime": 3.4,
            "RepetitionTime": 21.0,
        },
        "called something else",
    ),
    "SWI": ({"SeriesDescription": "swi_3d", "ScanningSequence": "GR", "EchoTime": 20.0}, "called"),
    "unnamed": ({"ScanningSequence": "GR", "EchoTime": 5.0, "RepetitionTime": 30.0}, "neither"),
}


@pytest.mark.parametrize(("headers", "reason"), OTHERS.values(), ids=OTHERS)
def test_what_cannot_be_used_is_passed_over_and_told_why(
    headers: dict[str, Any], reason: str
) -> None:
    """A study of twenty series has two that are wanted; the reader must see why those two."""
    choice = chosen([*series(1, **headers), *t1w(2), *flair(3)])

    assert numbers(choice) == (2, 3)
    assert choice.explanation[0].used_as is None
    assert reason in choice.explanation[0].reason
    assert [entry.used_as for entry in choice.explanation[1:]] == ["T1w", "FLAIR"]


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        (T1W, "T1w"),
        (FLAIR, "FLAIR"),
        # Siemens SPACE: a long effective echo time.
        (FLAIR | {"EchoTime": 388.0, "InversionTime": 1800.0, "SeriesDescription": "x"}, "FLAIR"),
        # Philips gives no inversion time, and names what it is.
        (
            FLAIR | {"InversionTime": None, "ScanningSequence": "SE", "SeriesDescription": "FLAIR"},
            "FLAIR",
        ),
        ({"SeriesDescription": "3D_FLAIR", "ScanningSequence": "RM"}, "FLAIR"),
        # GE's T1 FLAIR is a T1w, whatever its name.
        (
            {
                "SeriesDescription": "AX T1 FLAIR",
                "ScanningSequence": ["SE", "IR"],
                "EchoTime": 24.0,
                "RepetitionTime": 2000.0,
                "InversionTime": 800.0,
            },
            "T1w",
        ),
        # GE BRAVO and Philips TFE: gradient echo, named.
        (
            {
                "SeriesDescription": "Sag FSPGR BRAVO",
                "ScanningSequence": "GR",
                "EchoTime": 3.2,
                "RepetitionTime": 8.2,
            },
            "T1w",
        ),
        (
            {"SeriesDescription": "x", "ScanningSequence": "SE"}
            | {"EchoTime": 9.0, "RepetitionTime": 550.0},
            "T1w",
        ),
        ({"SeriesDescription": "T1W_3D_TFE", "ScanningSequence": "GR"}, "T1w"),
        (T1W | {"ContrastBolusAgent": "NONE"}, "T1w"),
    ],
)
def test_scanners_of_every_make_are_understood(headers: dict[str, Any], kind: str) -> None:
    """Makers state inversion and echo times differently, and some not at all."""
    verdict = judge(grouped(series(4, **headers))[0])

    assert (verdict.kind, verdict.excluded) == (kind, False)


def test_two_that_could_be_meant_are_listed_not_guessed() -> None:
    """The wrong one of two FLAIRs would be segmented silently."""
    images = [*t1w(2), *flair(3), *flair(4, EchoTime=90.0)]

    with pytest.raises(SeriesAmbiguous, match=r"series 3 .*series 4 .*TE 90"):
        chosen(images)
    assert numbers(chosen(images, flair=4)) == (2, 4)


def test_the_only_volume_is_preferred_to_slices() -> None:
    """Protocols often have a 2D T1w beside the MPRAGE; that is no ambiguity."""
    choice = chosen([*t1w(1, MRAcquisitionType="2D"), *t1w(2), *flair(3)])

    assert numbers(choice) == (2, 3)
    assert "3D" in choice.explanation[1].reason


def test_the_callers_word_goes_before_the_rules_but_not_before_what_is_possible() -> None:
    """A FLAIR acquired after contrast agent may be all there is."""
    images = [*t1w(2), *flair(3, ContrastBolusAgent="Dotarem"), *series(5, Modality="SR")]

    with pytest.raises(SeriesMissing, match="after contrast agent"):
        chosen(images)
    assert numbers(chosen(images, flair=3)) == (2, 3)
    with pytest.raises(SeriesMissing, match="not MR images"):
        chosen(images, flair=5)
    with pytest.raises(SeriesMissing, match="no series 8"):
        chosen(images, flair=8)


def test_a_series_sent_as_the_other_kind_is_refused() -> None:
    """Two files swapped by the sender would give a mask of nothing."""
    swapped = {"T1w": grouped(flair(3)), "FLAIR": grouped(t1w(2))}
    with pytest.raises(SeriesMissing, match="a FLAIR"):
        choose(swapped, {})  # type: ignore[arg-type]


def test_a_series_that_says_nothing_of_itself_is_taken_for_what_it_was_sent_as() -> None:
    """De-identified series often have lost their times and names."""
    bare = {"ScanningSequence": "RM"}
    sent = {"T1w": grouped(series(2, **bare)), "FLAIR": grouped(flair(3))}

    choice = choose(sent, {})  # type: ignore[arg-type]

    assert numbers(choice) == (2, 3)
    assert "sent as the T1w" in choice.explanation[0].reason


def test_descriptions_are_shown_without_what_could_name_the_patient() -> None:
    """Technicians type names into descriptions; messages travel to logs and tickets."""
    images = [
        *t1w(2, SeriesDescription="t1 mprage Jane Doe 4711 sag"),
        *t1w(4, data=phantom(seed=2)),
        *flair(3),
    ]

    with pytest.raises(SeriesAmbiguous) as caught:
        chosen(images)

    assert '"t1 mprage sag"' in str(caught.value)
    assert not re.search("jane|doe|4711", str(caught.value), re.IGNORECASE)
