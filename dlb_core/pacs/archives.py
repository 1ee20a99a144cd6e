"""The picture archives that the operator lets the service reach, from one TOML file.

[main]
url = "https://pacs.example.org/dicom-web"
username = "dlb"
password_file = "/run/secrets/pacs-password"

Callers name an archive; where it is and how one is let in there, they are not told.
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dlb_core.errors import BadOption

NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


class Archive(BaseModel):
    """One picture archive."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """Of its DICOMweb services: what `/studies` is appended to."""
    username: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    """A bearer token, in place of name and password."""
    ca_file: Path | None = None
    """Certificates to trust, where the archive's is not signed by a public authority."""
    timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """Longest silence of the archive."""

    @field_validator("url")
    @classmethod
    def _an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise ValueError("not an http(s) address")
        if parts.username or parts.password:
            raise ValueError("names and passwords have settings of their own")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _one_way_in(self) -> "Archive":
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file go together")
        if self.username is not None and self.token_file is not None:
            raise ValueError("either username and password_file, or token_file")
        return self


def read_archives(path: Path | None) -> dict[str, Archive]:
    """Read the file; without one there are no archives.

    Raises
    ------
    BadOption
        It cannot be read, or is not as described above.
    """
    if path is None:
        return {}
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        wrong = [name for name in tables if not NAME.fullmatch(name)]
        if wrong:
            raise BadOption(f"DLB_PACS_FILE: {wrong[0]!r} is no name for an archive")
        return {name: Archive.model_validate(table) for name, table in tables.items()}
    except OSError as error:
        raise BadOption(f"DLB_PACS_FILE: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, ValidationError, UnicodeDecodeError) as error:
        raise BadOption(f"DLB_PACS_FILE: {error}") from error
