"""The committed description of the API is the API's."""

from pathlib import Path

from service.openapi import TARGET, render


def test_the_committed_description_is_fresh() -> None:
    """Clients are generated from it. To renew: python -m service.openapi."""
    assert Path(TARGET).read_text(encoding="utf-8") == render()


def test_errors_are_described_as_problems() -> None:
    """The framework's own error bodies are never sent, so they must not be promised."""
    assert "HTTPValidationError" not in render()
    assert "application/problem+json" in render()
