"""Group images into series, and say of a series what a rule or a reader may want to know.

What a header says in words is reduced to words of MR vocabulary before anybody sees it: a
description is free text, and may name the patient.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pydicom
from pydicom.multival import MultiValue

from dlb_core.dicom.headers import Instance, attribute, number

VOCABULARY = re.compile(
    r"^(t1w?|t1c|t2w?|flair|mpr|mprage|mp2rage|rage|spgr|fspgr|bravo|tfe|ffe|tfl|se|tse|fse|gre|ir|"
    r"tir|tirm|stir|fl|3d|2d|ax|axial|tra|trans|transversal|sag|sagittal|cor|coronal|space|cube|"
    r"vista|view|dark|fluid|fs|fat|sat|fatsat|pre|post|gd|gado|contrast|km|ce|iso|\d{1,2}mm|mm|"
    r"localizer|localiser|loc|scout|survey|plane|dwi|adc|dti|swi|tof|mra|pd|brain|head|cerebrum|"
    r"nd|norm|sub|mip|\+c|c\+|w|wm|nav|tse3d|wip)$"
)
_SPLIT = re.compile(r"[\s_\-./\\:;,()\[\]^*=]+")


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Images that the scanner says belong together."""

    instances: Sequence[Instance]
    """At least one."""

    @property
    def header(self) -> pydicom.Dataset:
        """The first image's: series-level attributes are alike in all."""
        return self.instances[0].header

    @property
    def uid(self) -> str:
        """Series Instance UID."""
        return self.instances[0].series_uid

    @property
    def number(self) -> int | None:
        """Series number, as a viewer shows it."""
        found = number(self.header, "SeriesNumber")
        return None if found is None else int(found)

    @property
    def modality(self) -> str:
        """MR, SR, ..."""
        return str(attribute(self.header, "Modality") or "").upper()

    @property
    def image_type(self) -> tuple[str, ...]:
        """ORIGINAL, PRIMARY, ..."""
        return values(self.header, "ImageType")

    @property
    def description_words(self) -> frozenset[str]:
        """Words of the series' description, lower case."""
        return _words(self.header, "SeriesDescription")

    @property
    def words(self) -> frozenset[str]:
        """Words of its description and of its protocol's name, lower case."""
        return self.description_words | _words(self.header, "ProtocolName")

    @property
    def is_3d(self) -> bool:
        """Whether it was acquired as a volume, not slice by slice."""
        return str(attribute(self.header, "MRAcquisitionType") or "").upper() == "3D"

    def value(self, keyword: str) -> float | None:
        """A number of its header: EchoTime, RepetitionTime, InversionTime, in ms."""
        return number(self.header, keyword)

    def describe(self) -> str:
        """One line for messages, e.g. 'series 5 ("sag flair 3d", TR 5000, TE 388, 176 images)'."""
        name = "series without number" if self.number is None else f"series {self.number}"
        facts = [f'"{self.shown_words}"'] if self.shown_words else []
        for label, keyword in (
            ("TR", "RepetitionTime"),
            ("TE", "EchoTime"),
            ("TI", "InversionTime"),
        ):
            value = self.value(keyword)
            facts += [] if value is None else [f"{label} {value:g} ms"]
        facts.append(f"{len(self.instances)} images")
        return f"{name} ({', '.join(facts)})"

    @property
    def shown_words(self) -> str:
        """Those words of the description that are MR vocabulary, in their order."""
        words = split_words(str(attribute(self.header, "SeriesDescription") or ""))
        return " ".join(word for word in words if VOCABULARY.match(word))


def group(instances: Iterable[Instance]) -> list[Series]:
    """Series in the order of their numbers."""
    by_uid: dict[str, list[Instance]] = {}
    for instance in instances:
        by_uid.setdefault(instance.series_uid, []).append(instance)
    series = [Series(members) for members in by_uid.values()]
    return sorted(series, key=lambda one: (one.number is None, one.number or 0, one.uid))


def values(header: pydicom.Dataset, keyword: str) -> tuple[str, ...]:
    """All values of a text, upper case."""
    found = attribute(header, keyword)
    parts = list(found) if isinstance(found, (list, MultiValue)) else [found or ""]
    return tuple(str(part).strip().upper() for part in parts)


def split_words(text: str) -> list[str]:
    """Words of a free text, lower case."""
    return [word for word in _SPLIT.split(text.lower()) if word]


def _words(header: pydicom.Dataset, keyword: str) -> frozenset[str]:
    return frozenset(split_words(str(attribute(header, keyword) or "")))
