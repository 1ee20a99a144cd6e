"""The table of a data set: who was scanned, and which files say what.

A data set is a folder with `participants.tsv` (or `cases.tsv`), tab-separated, one row a case;
paths are relative to it. Columns that a data set does not need may be absent, others are
ignored; `n/a` is an empty cell.

==============================  ==============================================================
column                          meaning
==============================  ==============================================================
participant_id (or subject)     ties all of a person's rows together
session (or session_id)         which visit; may be empty
name                            the case's own name; without, subject and session make it
domain                          free label, such as the site or the scanner
input_state                     `raw` (default) or `skull_stripped`
t1w, flair                      a pair of images
lesions                         mask on the FLAIR's or the T1w's grid; several raters' masks
                                are separated by `;` or `,`
fusion                          of several masks: `majority` (default) or `staple`
tissues                         instead of images: a label map (1 CSF, 2 grey matter,
                                3 white matter, 4 lesion)
==============================  ==============================================================

`lesions` without images is a donor of lesion shapes: a mask in MNI world space, at native size.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dlb_core.contracts import InputState
from dlb_core.errors import InputError
from dlb_core.training.cache import IMAGE, LESIONS, NAME, TISSUES
from dlb_core.training.raters import Fusion

TABLES = ("participants.tsv", "cases.tsv")
_ALIASES = {"subject": "participant_id", "session_id": "session"}
_COLUMNS = (
    "participant_id",
    "session",
    "name",
    "domain",
    "input_state",
    "t1w",
    "flair",
    "lesions",
    "fusion",
    "tissues",
)
_FILES = ("t1w", "flair", "lesions", "tissues")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one cell of the table."""

    line: int
    column: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.column}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Row:
    """One case of the table."""

    line: int
    name: str
    subject: str
    session: str
    domain: str
    input_state: InputState
    fusion: Fusion
    t1w: Path | None
    flair: Path | None
    lesions: tuple[Path, ...]
    """One mask a rater."""
    tissues: Path | None

    @property
    def arrays(self) -> list[str]:
        """What the cache will hold for it."""
        if self.tissues:
            return [TISSUES]
        return [IMAGE] * bool(self.t1w) + [LESIONS] * bool(self.lesions)

    @property
    def files(self) -> dict[str, Path]:
        """Every file it names, by its column."""
        named = {"t1w": self.t1w, "flair": self.flair, "tissues": self.tissues}
        raters = {f"lesions {n}": path for n, path in enumerate(self.lesions, start=1)}
        return {column: path for column, path in named.items() if path} | raters


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was read; rows with a fault are in `faults` alone."""

    file: str
    rows: list[Row] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    """Columns that mean nothing to us."""


def read_table(dataset: Path) -> Table:
    """Read a data set's table; what is wrong with its rows is collected, not raised.

    Raises
    ------
    InputError
        There is no table, or two, or it cannot be read as one.
    """
    path = _find(dataset)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter="\t", strict=True)
            header = _header(path.name, next(reader, []))
            table = Table(path.name, ignored=[c for c in header if c not in _COLUMNS])
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    _add(table, dataset, reader.line_num, header, cells)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path.name} is no tab-separated text in UTF-8 ({error}): save it again as such"
        ) from error
    _find_repeated(table)
    return table


def refuse(file: str, faults: Iterable[Fault]) -> None:
    """Raise one error that lists every fault, if there is any.

    Raises
    ------
    InputError
        There is.
    """
    ordered = sorted(faults, key=lambda fault: fault.line)
    if ordered:
        lines = len({fault.line for fault in ordered})
        text = "\n".join(str(fault) for fault in ordered)
        raise InputError(
            f"{file} has {lines} bad row{'s' * (lines > 1)}, nothing was prepared:\n{text}"
        )


def _find(dataset: Path) -> Path:
    found = [dataset / name for name in TABLES if (dataset / name).is_file()]
    if len(found) == 1:
        return found[0]
    names = " or ".join(TABLES)
    if found:
        raise InputError(f"both {names} in {dataset.name}: keep the one that is meant")
    raise InputError(f"no {names} in {dataset.name}: see docs/training.md for its columns")


def _header(file: str, cells: list[str]) -> list[str]:
    header = [_ALIASES.get(c, c) for c in (cell.strip().lower() for cell in cells)]
    repeated = sorted(c for c, n in Counter(header).items() if n > 1)
    if repeated:
        raise InputError(f"{file} has the columns {', '.join(repeated)} twice: keep one of each")
    if "participant_id" not in header or not set(header) & set(_FILES):
        raise InputError(
            f"{file} needs the column participant_id (or subject), and t1w and flair, lesions "
            "or tissues, separated by tabs: see docs/training.md"
        )
    return header


def _add(table: Table, dataset: Path, line: int, header: list[str], cells: list[str]) -> None:
    if len(cells) > len(header):
        reason = f"the row has {len(cells)} cells, the header {len(header)}"
        table.faults.append(Fault(line, "row", reason))
        return
    stripped = [cell.strip() for cell in cells]
    given = {c: v for c, v in zip(header, stripped, strict=False) if v and v.lower() != "n/a"}
    faults = [*_naming_faults(line, given), *_file_faults(line, dataset, given)]
    if faults:
        table.faults.extend(faults)
    else:
        table.rows.append(_row(line, dataset, given))


def _naming_faults(line: int, given: dict[str, str]) -> Iterable[Fault]:
    if "participant_id" not in given:
        yield Fault(line, "participant_id", "empty")
    for column in ("participant_id", "session", "name"):
        if column in given and not re.fullmatch(NAME, given[column]):
            reason = "holds more than letters, digits, `.`, `_` and `-`, or begins with `.`"
            yield Fault(line, column, reason)
    for column, allowed in (("input_state", InputState), ("fusion", Fusion)):
        if column in given and given[column] not in set(allowed):
            yield Fault(line, column, f"{given[column]} is none of {', '.join(allowed)}")


def _file_faults(line: int, dataset: Path, given: dict[str, str]) -> Iterable[Fault]:
    for column in _FILES:
        for name in _split(column, given.get(column, "")):
            if not (dataset / name).is_file():
                yield Fault(line, column, f"no file {name}")
    if ("t1w" in given) != ("flair" in given):
        yield Fault(line, "flair" if "t1w" in given else "t1w", "t1w and flair come together")
    if "tissues" in given and set(given) & {"t1w", "flair", "lesions"}:
        yield Fault(line, "tissues", "stands alone: give images and lesions a row of their own")
    if not set(given) & set(_FILES):
        yield Fault(line, "row", "neither t1w and flair, nor lesions, nor tissues")


def _split(column: str, cell: str) -> list[str]:
    if column != "lesions":
        return [cell] if cell else []
    return [name.strip() for name in re.split("[;,]", cell) if name.strip()]


def _row(line: int, dataset: Path, given: dict[str, str]) -> Row:
    def path(column: str) -> Path | None:
        return dataset / given[column] if column in given else None

    subject, session = given["participant_id"], given.get("session", "")
    return Row(
        line=line,
        name=given.get("name", "_".join(filter(None, (subject, session)))),
        subject=subject,
        session=session,
        domain=given.get("domain", ""),
        input_state=InputState(given.get("input_state", InputState.RAW)),
        fusion=Fusion(given.get("fusion", Fusion.MAJORITY)),
        t1w=path("t1w"),
        flair=path("flair"),
        lesions=tuple(dataset / name for name in _split("lesions", given.get("lesions", ""))),
        tissues=path("tissues"),
    )


def _find_repeated(table: Table) -> None:
    first: dict[str, Row] = {}
    for row in list(table.rows):
        if row.name in first:
            reason = f"{row.name} is the name of line {first[row.name].line} too: give it another"
            table.faults.append(Fault(row.line, "name", reason))
            table.rows.remove(row)
        first.setdefault(row.name, row)
