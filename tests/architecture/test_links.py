"""What the documents and the code point to exists."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
SOURCES = [
    path for package in ("dlb_core", "service", "worker") for path in (ROOT / package).rglob("*.py")
]

FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s+(\S+)", re.MULTILINE)
"""[text](target), ![text](target "title"), or [text]: target on a line of its own."""
DOCUMENT = re.compile(r"docs/[\w./-]+\.md")


def name_of(path: Path) -> str:
    """A file's path as one reads it in the repository."""
    return path.relative_to(ROOT).as_posix()


def relative_links(text: str) -> list[str]:
    """Targets of a page's links to other files, without their anchors."""
    found = [inline or defined for inline, defined in LINK.findall(FENCED.sub("", text))]
    targets = (unquote(link.partition("#")[0]) for link in found if ":" not in link)
    return [target for target in targets if target]


def remarks(path: Path) -> Iterator[str]:
    """Comments and strings of a file, docstrings among them."""
    with io.StringIO(path.read_text(encoding="utf-8")) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type in (tokenize.COMMENT, tokenize.STRING):
                yield token.string


def test_links_are_found_in_all_their_forms() -> None:
    """A search that finds nothing would pass everything."""
    text = (
        'See [a](a.md#part), ![b](i/b.jpg "B"), [c](https://c.org), [d](#here), [e][].\n'
        "```\n[f](f.md)\n```\n[e]: e%20e.md\n"
    )

    assert relative_links(text) == ["a.md", "i/b.jpg", "e e.md"]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_pages_links_lead_somewhere(page: Path) -> None:
    """A reader who follows one must not end at a 404."""
    links = relative_links(page.read_text(encoding="utf-8"))
    broken = [link for link in links if not (page.parent / link).exists()]

    assert not broken


def test_documents_that_the_code_refers_to_exist() -> None:
    """A comment sends its reader to a page for the reason behind a number."""
    named = {
        (name_of(path), document)
        for path in SOURCES
        for remark in remarks(path)
        for document in DOCUMENT.findall(remark)
    }
    broken = sorted(place for place in named if not (ROOT / place[1]).is_file())

    assert named
    assert not broken
