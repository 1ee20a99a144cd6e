"""Read a program's settings from the variables that it hands over.

The variables are the caller's: this package reads no environment itself.
"""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from dlb_core.errors import BadOption

SECRETS = ("AWS_", "DLB_DATABASE_URL", "DLB_REDIS_URL")
"""How variables begin that may hold credentials."""

Settings = TypeVar("Settings", bound=BaseModel)


def read_settings(kind: type[Settings], environ: Mapping[str, str]) -> Settings:
    """Take each field from the variable DLB_<FIELD>; empty ones count as not set.

    Parameters
    ----------
    kind : type of BaseModel
        E.g. with a field `data`, which is read from DLB_DATA.
    environ : Mapping
        Variables by name; those of other programs are passed over.

    Raises
    ------
    BadOption
        A variable is missing, or its value cannot be used; all such are named.
    """
    names = {field: variable_of(field) for field in kind.model_fields}
    values = {field: environ[name] for field, name in names.items() if environ.get(name)}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise BadOption(f"environment not usable: {_faults(error)}") from error


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables for a process that reads what others have sent: it has no use for credentials."""
    return {name: value for name, value in environ.items() if not name.startswith(SECRETS)}


def variable_of(field: str) -> str:
    """Name of the variable that a field is read from."""
    return f"DLB_{field.upper()}"


def _faults(error: ValidationError) -> str:
    """Say what is wrong with which variable; a rule over several fields names them itself."""
    return "; ".join(
        f"{variable_of(str(fault['loc'][0]))}: {fault['msg']}" if fault["loc"] else fault["msg"]
        for fault in error.errors()
    )
