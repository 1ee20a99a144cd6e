"""The committed description of the API is the API's."""

import re
from pathlib import Path

from service.openapi import TARGET, render


def test_the_committed_description_is_fresh() -> None:
    """Clients are generated from it. To renew: python -m service.openapi."""
    assert Path(TARGET).read_text(encoding="utf-8") == render()


def test_every_code_that_may_be_answered_is_explained() -> None:
    """Callers act on codes: one that no document names can only be guessed at."""
    answered = re.findall(r'"description": "Problem: ([a-z, -]+)"', render())
    codes = {code for found in answered for code in found.split(", ")}
    document = (Path(TARGET).parent.parent / "docs" / "api.md").read_text(encoding="utf-8")

    assert "disk-full" in codes
    assert {code for code in codes if f"`{code}`" not in document} == set()


def test_errors_are_described_as_problems() -> None:
    """The framework's own error bodies are never sent, so they must not be promised."""
    assert "HTTPValidationError" not in render()
    assert "application/problem+json" in render()
