"""One table turns every error of ours into a status."""

import pytest

from dlb_core import errors
from dlb_core.errors import DlbError
from service.errors import STATUS, status_of


def tree(kind: type[DlbError]) -> list[type[DlbError]]:
    """An error and all that derive from it in dlb_core.errors."""
    children = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [kind, *(leaf for child in children for leaf in tree(child))]


@pytest.mark.parametrize("kind", tree(DlbError))
def test_every_error_has_a_status_that_fits_its_branch(kind: type[DlbError]) -> None:
    """The caller's faults, haste among them, are 4xx; ours, and what may pass, are 5xx."""
    expected = 4 if issubclass(kind, errors.InputError | errors.RateLimited) else 5

    assert status_of(kind) // 100 == expected


def test_codes_are_unique() -> None:
    """A client acts on the code alone."""
    codes = [kind.code for kind in tree(DlbError)]

    assert len(codes) == len(set(codes))


def test_the_table_names_only_errors_that_exist() -> None:
    """A renamed error must not leave its old row behind."""
    assert set(STATUS) <= set(tree(DlbError))
