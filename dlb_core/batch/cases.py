"""Find the cases of a batch: in a BIDS folder, or in a table.

A table is CSV (or tab-separated, `.tsv`) with a row a case and the columns `subject`, `session`
(may be missing), `t1w` and `flair`; paths are relative to the table. Other columns are passed
over. In a BIDS folder a case is a subject's session with one T1w and one FLAIR image.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dlb_core.errors import BadOption

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_NAMED = 20
"""Faults that one message lists."""


@dataclass(frozen=True, slots=True)
class Case:
    """A pair of images, and whose it is."""

    subject: str
    session: str
    """Empty where there is but one."""
    t1w: Path
    flair: Path

    @property
    def name(self) -> str:
        """The case's own name, good for a folder's."""
        return case_name(self.subject, self.session)


def case_name(subject: str, session: str) -> str:
    """Name of a case: of its folder, and in messages."""
    return f"{subject}_{session}" if session else subject


@dataclass(frozen=True, slots=True)
class Found:
    """The cases, and what was passed over."""

    cases: tuple[Case, ...]
    passed_over: tuple[str, ...] = ()
    """In words: which sessions of a BIDS folder make no case, and why."""


def find_cases(source: Path) -> Found:
    """Find the cases of a folder or a table, in the order of their names or rows.

    Raises
    ------
    BadOption
        There is none, or a row of the table cannot be used; all such are named.
    """
    found = _of_folder(source) if source.is_dir() else Found(tuple(_of_table(source)))
    if not found.cases:
        raise BadOption("no case with a T1w and a FLAIR image there", fields={})
    names = Counter(case.name for case in found.cases)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise BadOption(f"cases of one name: {', '.join(twice[:MAX_NAMED])}")
    return found


def _of_folder(folder: Path) -> Found:
    """Look through a BIDS folder."""
    cases, passed_over = [], []
    for anat, subject, session in _sessions(folder):
        pairs = {kind: _images(anat, kind) for kind in ("T1w", "FLAIR")}
        counts = ", ".join(f"{len(images)} {kind}" for kind, images in pairs.items())
        if all(len(images) == 1 for images in pairs.values()):
            cases.append(Case(subject, session, pairs["T1w"][0], pairs["FLAIR"][0]))
        else:
            # Which of two images is meant is not ours to guess.
            passed_over.append(f"{subject} {session}".strip() + f": {counts}, one each is needed")
    return Found(tuple(cases), tuple(passed_over))


def _sessions(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """Every `anat` folder, with the names of its subject and session."""
    for subject in sorted(folder.glob("sub-*")):
        if not subject.is_dir():
            continue
        sessions = [path for path in sorted(subject.glob("ses-*")) if path.is_dir()]
        for place in sessions or [subject]:
            yield place / "anat", subject.name, place.name if sessions else ""


def _images(anat: Path, kind: str) -> list[Path]:
    return sorted([*anat.glob(f"sub-*_{kind}.nii.gz"), *anat.glob(f"sub-*_{kind}.nii")])


def _of_table(table: Path) -> list[Case]:
    """Read a table; what is wrong with its rows is reported together."""
    delimiter = "\t" if table.suffix == ".tsv" else ","
    with table.open(newline="", encoding="utf-8-sig") as file:
        try:
            reader = csv.DictReader(file, delimiter=delimiter, strict=True)
            missing = {"subject", "t1w", "flair"} - set(reader.fieldnames or ())
            if missing:
                raise BadOption(f"the table lacks the columns {', '.join(sorted(missing))}")
            rows = [(reader.line_num, row) for row in reader]
        except (UnicodeDecodeError, csv.Error) as error:
            raise BadOption(f"{table.name} is not a table in UTF-8") from error
    read = [_case_of(row, table.parent) for _, row in rows]
    faults = [
        f"line {line}: {case}"
        for (line, _), case in zip(rows, read, strict=True)
        if isinstance(case, str)
    ]
    if faults:
        more = f"; and {len(faults) - MAX_NAMED} more" if len(faults) > MAX_NAMED else ""
        raise BadOption("; ".join(faults[:MAX_NAMED]) + more)
    return [case for case in read if isinstance(case, Case)]


def _case_of(row: dict[str, str | None], folder: Path) -> Case | str:
    """Read a row, or say what is wrong with it."""
    cells = {key: (row.get(key) or "").strip() for key in ("subject", "session", "t1w", "flair")}
    if cells["session"] == "n/a":
        cells["session"] = ""
    if not NAME.fullmatch(cells["subject"]):
        return "subject: up to 64 letters, digits, . _ -"
    if cells["session"] and not NAME.fullmatch(cells["session"]):
        return "session: up to 64 letters, digits, . _ -"
    files = {kind: folder / cells[kind] for kind in ("t1w", "flair")}
    for kind, path in files.items():
        if not cells[kind] or not path.is_file():
            return f"{kind}: no such file"
    return Case(cells["subject"], cells["session"], files["t1w"], files["flair"])
