"""The model card: Markdown in which the parts that the manifest knows are written by us.

Such a part stands between two comment lines, `<!-- dlb: figures -->` and `<!-- /dlb -->`.
Whoever writes a card puts them where the part belongs; all else in the card is left alone.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from dlb_core.contracts import NUM_NETWORKS
from dlb_core.metrics import MEASURES
from dlb_core.model_facts import (
    BUNDLE,
    FIGURES,
    LESION_COUNTS,
    Facts,
    Measured,
    Result,
    Training,
    TrainingRun,
)
from dlb_core.report.document import RESEARCH_USE

if TYPE_CHECKING:
    from dlb_core.checkpoints import Manifest

UNMEASURED = "Nothing was measured with these weights yet"
"""Stands in a card until someone gives figures."""
METHOD = "method"
"""Heading of the column that says what was measured, where there is more than the bundle."""
LEFT_OUT = "trained without the case"
"""Stands for the bundle where each case was measured with weights of a training without it."""
_PART = re.compile(r"(<!-- dlb: ([a-z-]+) -->\n)(.*?)(<!-- /dlb -->)", re.DOTALL)
_LEAST_SHARE = 0.005
_ML = ("reference_ml", "predicted_ml")


def fresh_card(manifest: "Manifest") -> str:
    """A card that holds all that the manifest knows, and nothing else."""
    texts = []
    for name, (heading, _) in _PARTS.items():
        start = f"## {heading}\n\n" if heading else ""
        texts.append(f"{start}<!-- dlb: {name} -->\n<!-- /dlb -->\n")
    return refreshed("\n".join(texts), manifest)


def refreshed(card: str, manifest: "Manifest") -> str:
    """A card with its marked parts written anew; parts that we do not know stay as they are."""

    def rewrite(found: re.Match[str]) -> str:
        start, name, old, end = found.groups()
        new = f"{_PARTS[name][1](manifest)}\n" if name in _PARTS else old
        return f"{start}{new}{end}"

    return _PART.sub(rewrite, card)


def has_place_for_figures(card: str) -> bool:
    """Whether a card has the marked part that figures go into."""
    return any(found.group(2) == "figures" for found in _PART.finditer(card))


def is_ours(card: str) -> bool:
    """Whether nobody has written in a card that an earlier version made without marks."""
    return UNMEASURED in card and not has_place_for_figures(card)


def _identity(manifest: "Manifest") -> str:
    return f"# {manifest.name} {manifest.version}\n\n{manifest.description}\n\n> {RESEARCH_USE}"


def _networks(manifest: "Manifest") -> str:
    files = {entry.file: entry.size_bytes for entry in manifest.networks}
    shape = manifest.architecture
    size = next(iter(files.values()))
    copies = "" if len(files) > 1 else ", one in all places"
    return (
        f"{NUM_NETWORKS} 3D U-Nets{copies}, of width {shape.width} with {shape.num_levels} levels "
        f"({size / 2e6:.2g} million weights each, float16, {sum(files.values()) / 2**20:.0f} MB "
        "in all): T1w and FLAIR in, lesion probability out. A network votes lesion from a "
        f"probability of {manifest.vote_threshold:g} on."
    )


def _training(manifest: "Manifest") -> str:
    facts = _facts(manifest)
    parts = [_bullets(facts.training_data)] if facts.training_data else []
    parts += [training_text(facts.training), _run_table(facts.training)] if facts.training else []
    return "\n\n".join(parts) or "The manifest does not say how these weights were trained."


def training_text(training: Training) -> str:
    """How much of what the networks learned from was made up, in a sentence or two."""
    synthetic = training.share(lambda samples: samples.synthesised)
    painted = training.share(lambda samples: samples.painted)
    start = "" if training.from_nothing else " What came before the first run is not known."
    return (
        f"{_percent(synthetic)} of the samples were synthetic images; {_percent(painted)} held "
        f"lesions that were painted in, synthetic images included.{start}"
    )


def _run_table(training: Training) -> str:
    header = ("run", "steps", "samples", "cases")
    rows = [
        (f"{n}, `{run.recipe}`", run_steps(run), run_samples(run), run_cases(run))
        for n, run in enumerate(training.runs, start=1)
    ]
    return _table(header, rows)


def run_steps(run: TrainingRun) -> str:
    """How long each stage of a run was."""
    most = "at most " if run.early_stopping else ""
    stages = []
    if run.first_stage_steps:
        stages.append(f"{most}{run.first_stage_steps} of the {run.first_stage} network")
    if run.network_steps:
        stages.append(f"{most}{run.network_steps} of each of the {NUM_NETWORKS}")
    of = f"{run.batch_size} × {run.cube_voxels}³ voxels a step"
    return f"{', '.join(stages)}; {of}"


def run_samples(run: TrainingRun) -> str:
    """What a run's samples were made from."""
    shares = run.samples
    kinds = {
        "labelled images": shares.labelled,
        "labelled images with lesions added": shares.transplanted,
        "unlabelled images with lesions added": shares.unlabelled,
        "synthetic images": shares.synthesised,
    }
    return ", ".join(f"{_percent(share)} {kind}" for kind, share in kinds.items() if share)


def run_cases(run: TrainingRun) -> str:
    """How many cases of each kind a run had."""
    cases = run.cases
    kinds = {
        "labelled": cases.labelled,
        "unlabelled": cases.unlabelled,
        "tissue labels": cases.anatomies,
        "lesion masks": cases.lesion_masks,
        "validation": cases.validation,
    }
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)


def _figures(manifest: "Manifest") -> str:
    evaluation = _facts(manifest).evaluation
    if not evaluation:
        return f"{UNMEASURED}: add figures, with their protocol, before anyone relies on them."
    return "\n\n".join(_measured(measured) for measured in evaluation)


def _measured(measured: Measured) -> str:
    header, rows = figure_rows(measured)
    return (
        f"**{measured.title}.** {measured.protocol} {seen(measured)}\n\n`{measured.command}`\n\n"
        f"{_table(header, rows)}"
    )


def seen(measured: Measured) -> str:
    """Whether the figures are those of unseen cases."""
    if measured.leave_one_out:
        return (
            "Leave-one-out: each case's figures are of weights made in the same way without that "
            "case, not of this bundle's own."
        )
    if measured.seen_in_training:
        return "The weights were trained on cases among these: no figures for new patients."
    return "The weights were trained on none of these cases."


def figure_rows(measured: Measured) -> tuple[list[str], list[list[str]]]:
    """Figures as a table: a row a result, and a mean of every method with several cases.

    One measure of several methods stands in a column a method.
    """
    names = [n for n in FIGURES if any(n in result.values for result in measured.results)]
    by_method = {
        result.method: dict(_lines(measured.results, result.method)) for result in measured.results
    }
    if len(names) == 1 and len(by_method) > 1:
        (name,) = names
        cases = dict.fromkeys(case for lines in by_method.values() for case in lines)
        rows = [
            [case, *(_figure(name, lines.get(case, {}).get(name)) for lines in by_method.values())]
            for case in cases
        ]
        methods = [_shown(method, measured) for method in by_method]
        return [f"{FIGURES[name]} of case", *methods], rows
    rows = [
        [case, _shown(method, measured), *(_figure(name, values.get(name)) for name in names)]
        for method, lines in by_method.items()
        for case, values in lines.items()
    ]
    header = ["case", METHOD, *(FIGURES[n] for n in names)]
    if list(by_method) == [BUNDLE]:
        return header[:1] + header[2:], [row[:1] + row[2:] for row in rows]
    return header, rows


def _shown(method: str, measured: Measured) -> str:
    return LEFT_OUT if measured.leave_one_out and method == BUNDLE else method


def _lines(results: Sequence[Result], method: str) -> Iterator[tuple[str, dict[str, float]]]:
    own = [result for result in results if result.method == method]
    for result in own:
        yield ", ".join(result.cases), result.values
    if mean := means(own):
        yield "mean", mean


def means(results: Sequence[Result]) -> dict[str, float]:
    """Means of the measures that every one of several single cases has; volumes have none."""
    single = [result.values for result in results if len(result.cases) == 1]
    if len(single) < 2:
        return {}
    shared = [name for name in MEASURES if all(name in values for values in single)]
    return {name: sum(values[name] for values in single) / len(single) for name in shared}


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name in LESION_COUNTS:
        return f"{value:.0f}"
    digits = 1 if name in _ML and value >= 1 else 3
    # So that 0.3655, which no float is, becomes 0.366 as on paper.
    return f"{value + math.copysign(1e-9, value):.{digits}f}"


def _percent(share: float) -> str:
    # Nearly all is not all, and next to nothing is something.
    if 0 < share < _LEAST_SHARE:
        return "under 1 %"
    if 1 - _LEAST_SHARE < share < 1:
        return "over 99 %"
    return f"{100 * share:.0f} %"


def _failures(manifest: "Manifest") -> str:
    failures = _facts(manifest).known_failures
    return _bullets(failures) if failures else "Nobody has looked for them yet."


def _use(manifest: "Manifest") -> str:
    return "\n\n".join(_facts(manifest).intended_use) or "Trying the software."


def _facts(manifest: "Manifest") -> Facts:
    return manifest.facts or Facts()


def _bullets(texts: Iterable[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(c.replace('|', '/') for c in line)} |" for line in lines)


_PARTS: dict[str, tuple[str, Callable[["Manifest"], str]]] = {
    "identity": ("", _identity),
    "networks": ("What it is", _networks),
    "training": ("What it was trained on", _training),
    "figures": ("Measured", _figures),
    "known-failures": ("Known failures", _failures),
    "intended-use": ("Intended use", _use),
}
"""Name of a marked part -> the heading that a fresh card gives it, and what it says."""
