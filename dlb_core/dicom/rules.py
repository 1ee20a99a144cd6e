"""Which series is a T1w, which a FLAIR, and which cannot be used: rules that say their reason.

Numbers go before words: "T1 FLAIR" is a T1w by its times, whatever it is called. Words decide
only where the numbers leave it open.
"""

from dataclasses import dataclass
from typing import Literal

from dlb_core.dicom.headers import ENHANCED_MR_IMAGE, MR_IMAGE
from dlb_core.dicom.series import Series, values

Kind = Literal["T1w", "FLAIR"]

MIN_IMAGES = 10
LONG_TE_MS = 60.0
SHORT_TE_MS = 40.0
LONG_TI_MS = 1400.0
"""Fluid is dark from here on, at 1.5 T to 7 T; STIR (about 150) and MPRAGE (to 1300) lie below."""
MPRAGE_TI_MS = (350.0, 1400.0)
SPIN_ECHO_TR_MS = (250.0, 1200.0)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FLAIR_WORDS = _words("flair dark tirm fluid")
T1_WORDS = _words("t1 t1w mprage mpr rage spgr fspgr bravo mp2rage tfl irspgr")
OTHER_WORDS = _words(
    "tof mra angio angiography swi swan venobold phase field fieldmap map b0 b1 perf perfusion dsc "
    "dce asl pcasl pasl mt magic epi bold fmri rest dti dwi diff diffusion trace adc fa pwi qsm "
    "spectro svs csi t2 t2w pd pdw stir dir psir cisc fiesta ciss mrv t1map t2map"
)
LOCALISER_WORDS = _words(
    "loc localizer localiser scout survey aahead aascout plane plan 3plane planloc"
)
CONTRAST_WORDS = _words(
    "gd gado gadolinium gadovist dotarem contrast contrasted post km mdc ce gd+ +gd +c c+ t1c pc "
    "postgd postcontrast enhanced inj"
)
DERIVED_WORDS = _words("mip sub subtraction reformat reformatted adc")
NO_CONTRAST = frozenset({"", "NO", "NONE", "N", "N/A", "NO CONTRAST", "0"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say of a series."""

    kind: Kind | None
    """None: neither a T1w nor a FLAIR, or not to be told."""
    excluded: bool
    """Not to be used unless the caller names it."""
    reason: str
    """Why, in words for the caller."""


def judge(series: Series) -> Verdict:
    """Apply the rules to one series."""
    reason = _exclusion(series)
    kind, why = _kind(series)
    if reason is not None:
        return Verdict(kind, True, reason)
    return Verdict(kind, False, why)


def unusable(series: Series) -> str | None:
    """Why a series can never be used, whoever names it; None where it can."""
    if series.modality != "MR":
        return "not MR images"
    classes = {instance.sop_class for instance in series.instances}
    if ENHANCED_MR_IMAGE in classes or any(one.frames > 1 for one in series.instances):
        return "enhanced (multi-frame) MR, which is not read: export it as single-frame MR"
    if classes != {MR_IMAGE}:
        return "not MR images"
    return None


def _exclusion(series: Series) -> str | None:
    """The first reason not to use a series, if there is one."""
    cannot = unusable(series)
    if cannot is not None:
        return cannot
    words, kinds = series.description_words, series.image_type
    if "LOCALIZER" in kinds or words & LOCALISER_WORDS:
        return "a localiser"
    if len(series.instances) < MIN_IMAGES:
        return f"fewer than {MIN_IMAGES} images"
    if "DERIVED" in kinds or "SECONDARY" in kinds or words & DERIVED_WORDS:
        return "derived, not as acquired"
    if kinds[2:3] in (("P",), ("R",), ("I",)) or "PHASE MAP" in kinds:
        return "not a magnitude image"
    if _has_contrast(series):
        return "after contrast agent"
    return None


def _has_contrast(series: Series) -> bool:
    agents = values(series.header, "ContrastBolusAgent")
    told = any(agent not in NO_CONTRAST for agent in agents)
    return told or bool(series.description_words & CONTRAST_WORDS)


def _kind(series: Series) -> tuple[Kind | None, str]:
    """What a series shows, and by which rule."""
    te, tr, ti = (series.value(f"{name}Time") for name in ("Echo", "Repetition", "Inversion"))
    inverted = bool(ti) or "IR" in values(series.header, "ScanningSequence")
    called_flair = bool(series.words & FLAIR_WORDS)
    if te is not None and te >= LONG_TE_MS and (inverted or called_flair):
        if ti and ti < LONG_TI_MS:
            return None, f"inversion recovery whose TI of {ti:g} ms leaves fluid bright"
        return "FLAIR", f"inversion recovery with a long echo time ({te:g} ms)"
    if te is None and called_flair and not series.words & T1_WORDS:
        return "FLAIR", "called FLAIR"
    if te is not None and te > SHORT_TE_MS:
        return None, f"an echo time of {te:g} ms without inversion: T2-weighted"
    return _t1w(series, te, tr, ti)


def _t1w(
    series: Series, te: float | None, tr: float | None, ti: float | None
) -> tuple[Kind | None, str]:
    """The same, of a series with a short echo time, or with none stated."""
    if series.words & OTHER_WORDS and not series.words & T1_WORDS:
        return None, "called something else than T1w or FLAIR"
    if te is not None and ti and MPRAGE_TI_MS[0] <= ti <= MPRAGE_TI_MS[1]:
        return "T1w", f"a short echo time ({te:g} ms) after inversion (TI {ti:g} ms)"
    spin = "SE" in values(series.header, "ScanningSequence")
    if te is not None and spin and tr and SPIN_ECHO_TR_MS[0] <= tr <= SPIN_ECHO_TR_MS[1]:
        return "T1w", f"spin echo with short TE and TR ({te:g} and {tr:g} ms)"
    if series.words & T1_WORDS and not series.words & OTHER_WORDS:
        short = "" if te is None else f", with a short echo time ({te:g} ms)"
        return "T1w", f"called T1w{short}"
    return None, "neither its times nor its name say T1w or FLAIR"
