"""Choose the T1w and the FLAIR series, or say what there is to choose from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlb_core.dicom.rules import Kind, judge, unusable
from dlb_core.dicom.series import Series
from dlb_core.errors import SeriesAmbiguous, SeriesMissing

MOST_LISTED = 40
"""Series named in a message: a hostile archive may hold thousands."""
KINDS: tuple[Kind, ...] = ("T1w", "FLAIR")


@dataclass(frozen=True, slots=True)
class Explained:
    """One series, and what became of it."""

    series: str
    """E.g. 'series 5 ("sag flair 3d", TR 5000 ms, 176 images)'."""
    used_as: Kind | None
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The two series, and why they and no others."""

    t1w: Series
    flair: Series
    explanation: tuple[Explained, ...]


def choose(found: Mapping[Kind | None, Sequence[Series]], named: Mapping[Kind, int]) -> Choice:
    """Choose one series of each kind.

    Parameters
    ----------
    found : mapping
        Series of archives sent as the T1w or as the FLAIR; under None, those of one study.
    named : mapping
        Kind -> series number, where the caller has named one.

    Raises
    ------
    SeriesMissing
        There is none of a kind.
    SeriesAmbiguous
        There are several of a kind; they are listed.
    """
    study = found.get(None)
    sources = {kind: list(study if study is not None else found[kind]) for kind in KINDS}
    picked = {
        kind: _pick(kind, sources[kind], named.get(kind), alone=study is None) for kind in KINDS
    }
    listed = study if study is not None else [one for kind in KINDS for one in found[kind]]
    explanation = tuple(_explain(one, picked) for one in listed)
    return Choice(picked["T1w"][0], picked["FLAIR"][0], explanation)


def _pick(
    kind: Kind, series: list[Series], number: int | None, *, alone: bool
) -> tuple[Series, str]:
    """One series, and the reason."""
    if number is not None:
        return _named(kind, series, number)
    verdicts = [(one, judge(one)) for one in series]
    usable = [(one, verdict) for one, verdict in verdicts if not verdict.excluded]
    of_kind = [(one, verdict.reason) for one, verdict in usable if verdict.kind == kind]
    if not of_kind and alone and len(usable) == 1 and usable[0][1].kind is None:
        return usable[0][0], f"the only usable series of what was sent as the {kind}"
    if not of_kind:
        raise _missing(kind, series)
    if len(of_kind) == 1:
        return of_kind[0]
    volumes = [(one, why) for one, why in of_kind if one.is_3d]
    if len(volumes) == 1:
        one, why = volumes[0]
        return one, f"{why}; the only one acquired in 3D"
    raise SeriesAmbiguous(
        f"{len(of_kind)} series could be the {kind}: "
        f"{_joined([one.describe() for one, _ in of_kind])}. "
        f"Send only the right one, or name it by its series number."
    )


def _named(kind: Kind, series: list[Series], number: int) -> tuple[Series, str]:
    """The series that the caller names."""
    of_number = [one for one in series if one.number == number]
    if not of_number:
        raise SeriesMissing(f"there is no series {number}: {_listing(series)}")
    if len(of_number) > 1:
        raise SeriesAmbiguous(f"{len(of_number)} series bear the number {number}: send only one")
    cannot = unusable(of_number[0])
    if cannot is not None:
        raise SeriesMissing(f"{of_number[0].describe()} cannot be the {kind}: {cannot}")
    return of_number[0], "named by the caller"


def _missing(kind: Kind, series: list[Series]) -> SeriesMissing:
    return SeriesMissing(
        f"none of the series can be taken for the {kind}: {_listing(series)}. "
        "If one of them is right all the same, name it by its series number."
    )


def _listing(series: list[Series]) -> str:
    return _joined([f"{one.describe()}: {_said(one)}" for one in series]) or "there are none"


def _joined(told: list[str]) -> str:
    """Say no more than a reader can take in."""
    more = [f"and {len(told) - MOST_LISTED} more"] if len(told) > MOST_LISTED else []
    return "; ".join([*told[:MOST_LISTED], *more])


def _said(series: Series) -> str:
    """What the rules say of a series that was not chosen."""
    verdict = judge(series)
    if verdict.kind is None or verdict.excluded:
        return verdict.reason
    return f"a {verdict.kind}, {verdict.reason}"


def _explain(series: Series, picked: Mapping[Kind, tuple[Series, str]]) -> Explained:
    for kind, (chosen, reason) in picked.items():
        if chosen is series:
            return Explained(series.describe(), kind, reason)
    return Explained(series.describe(), None, _said(series))
