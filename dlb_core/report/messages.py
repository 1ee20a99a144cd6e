"""Collect every text of the report for those who translate: `python -m dlb_core.report.messages`.

It reads the code, not a running report, so that no text is missed for want of a case that says it.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment
from jinja2.ext import extract_from_ast

from dlb_core.report.language import LOCALES, NUMBER, RECORD

PACKAGE = Path(__file__).parents[1]
TEMPLATE = LOCALES / "report.pot"
SOURCES = (
    "input_statistics.py",
    "input_trust.py",
    "quality.py",
    "robustness.py",
    "report/*.py",
    "report/templates/*.j2",
    "longitudinal/*.py",
    "longitudinal/templates/*.j2",
)
"""Within the package."""
_CALLS = {"say": 1, "mark": 1, "record": 1, "say_count": 2}
"""Name of a function -> how many of its first arguments are texts."""


@dataclass(frozen=True, order=True)
class Message:
    """One entry of a catalogue."""

    text: str
    many: str = ""
    """What it is of several, where a count decides."""
    context: str = ""


@cache
def messages() -> tuple[Message, ...]:
    """Every text there is, in order."""
    files = [path for pattern in SOURCES for path in sorted(PACKAGE.glob(pattern))]
    found = {message for path in files for message in _messages_of(path)}
    return tuple(sorted({*found, Message(NUMBER)}))


def template() -> str:
    """The catalogue's template, as GNU gettext's tools and editors of catalogues read it."""
    head = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
    return "\n".join([head, *(_entry(message) for message in messages())])


def _messages_of(path: Path) -> Iterator[Message]:
    source = path.read_text(encoding="utf-8")
    calls = _calls_of_page(source) if path.suffix == ".j2" else _calls_of_code(source)
    for function, texts in calls:
        context = RECORD if function == "record" else ""
        many = texts[1] if len(texts) > 1 else ""
        yield Message(texts[0], many, context)


def _calls_of_code(source: str) -> Iterator[tuple[str, list[str]]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            texts = [
                argument.value
                for argument in node.args[: _CALLS.get(node.func.id, 0)]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            ]
            if texts:
                yield node.func.id, texts


def _calls_of_page(source: str) -> Iterator[tuple[str, list[str]]]:
    found = extract_from_ast(Environment(autoescape=True).parse(source), tuple(_CALLS))
    for _, function, texts in found:
        told = [text for text in ((texts,) if isinstance(texts, str) else texts or ()) if text]
        yield function, told[: _CALLS[function]]


def _entry(message: Message) -> str:
    lines = [f"msgctxt {_quoted(message.context)}"] if message.context else []
    if re.search(r"\{\w+\}", message.text):
        lines.insert(0, "#, python-brace-format")
    lines.append(f"msgid {_quoted(message.text)}")
    if message.many:
        lines += [f"msgid_plural {_quoted(message.many)}", 'msgstr[0] ""', 'msgstr[1] ""']
    else:
        lines.append('msgstr ""')
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


if __name__ == "__main__":
    TEMPLATE.write_text(template(), encoding="utf-8")
