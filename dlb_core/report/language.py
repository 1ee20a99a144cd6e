"""The report's texts in the reader's language. English needs no catalogue: it is the code's own.

Every text that a report shows passes through `say`, with what varies as `{names}`. Texts that stand
apart from their use are marked with `mark`. What report.json holds is English, made with `record`;
`recorded` says it in the reader's language. A catalogue is GNU gettext's, in
`locales/<language>/LC_MESSAGES/report.mo`; how numbers are written is one of its texts.
"""

import gettext
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from string import Formatter

LOCALES = Path(__file__).parent / "locales"
DOMAIN = "report"
RECORD = "report.json"
"""The context of texts made with `record`, in catalogues."""

NUMBER = "1\u202f234.5"
"""A number as it is written: what stands between thousands, and before a fraction."""
_DIGITS = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.])")


@dataclass(frozen=True)
class Language:
    """A language that reports speak."""

    code: str
    """BCP 47, as pages and PDFs name it."""
    catalogue: gettext.NullTranslations = field(default_factory=gettext.NullTranslations)
    recorded_texts: tuple[str, ...] = ()
    """Texts with `{names}` that a report.json may hold, filled in."""

    @cached_property
    def marks(self) -> tuple[str, str]:
        """What stands between thousands, and before a fraction."""
        thousands, decimal = re.findall(r"\D", self.catalogue.gettext(NUMBER))
        return thousands, decimal

    @cached_property
    def patterns(self) -> tuple[tuple[re.Pattern[str], str], ...]:
        """The recorded texts, as what a filled in one matches; those with most words first."""
        ordered = sorted(self.recorded_texts, key=lambda text: -len(_pattern(text).pattern))
        return tuple((_pattern(text), text) for text in ordered)


ENGLISH = Language("en-GB")
_spoken: ContextVar[Language] = ContextVar("language of reports", default=ENGLISH)


def open_language(code: str, folder: Path = LOCALES) -> Language:
    """A language of which there is a catalogue.

    Parameters
    ----------
    code : str
        BCP 47; its folder is named alike.
    folder : Path
        That holds the catalogues.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    catalogue = gettext.translation(DOMAIN, folder, [code])
    # The standard library keeps what it read to itself; the texts with {names} are needed whole.
    names = [name for name in vars(catalogue)["_catalog"] if isinstance(name, str)]
    texts = (text for context, _, text in (name.partition("\x04") for name in names) if text)
    return Language(code, catalogue, tuple(text for text in texts if "{" in text))


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Have reports speak a language for a while."""
    before = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(before)


def spoken() -> Language:
    """The language that reports speak now."""
    return _spoken.get()


def mark(text: str) -> str:
    """A text that is said elsewhere: the catalogue's maker must find it."""
    return text


def say(text: str, **values: object) -> str:
    """A text in the language spoken, with its `{names}` filled in."""
    told = _spoken.get().catalogue.gettext(text) if text else ""
    return told.format(**values) if values else told


def say_count(one: str, many: str, count: int, **values: object) -> str:
    """Likewise, in the form that a count takes; `{count}` is the count in print."""
    told = _spoken.get().catalogue.ngettext(one, many, count)
    return told.format(count=written(f"{count:,}"), **values)


def written(number: str) -> str:
    """A number of Python's ("-1,234.5") in the signs of the language spoken."""
    thousands, decimal = _spoken.get().marks
    signs = {",": thousands, ".": decimal, "-": "−"}
    return "".join(signs.get(sign, sign) for sign in number)


def record(text: str, **values: object) -> str:
    """A text for report.json and its like: in English, with its `{names}` filled in."""
    return text.format(**values) if values else text


def recorded(text: str) -> str:
    """What was made with `record`, in the language spoken; as it is where nobody knows it."""
    language = _spoken.get()
    told = language.catalogue.pgettext(RECORD, text) if text else ""
    if told != text:
        return told
    for pattern, known in language.patterns:
        found = pattern.fullmatch(text)
        if found:
            values = {name: _value(value) for name, value in found.groupdict().items()}
            return language.catalogue.pgettext(RECORD, known).format(**values)
    return text


def _value(text: str) -> str:
    """What fills a recorded text in: a number, a name, or other recorded texts."""
    parts = [recorded(part) for part in text.split("; ")]
    return "; ".join(_DIGITS.sub(lambda found: written(found[0]), part) for part in parts)


def _pattern(text: str) -> re.Pattern[str]:
    """What a text matches once it is filled in."""
    parts = (
        re.escape(words) + (f"(?P<{name}>.+?)" if name else "")
        for words, name, _, _ in Formatter().parse(text)
    )
    return re.compile("".join(parts))
