"""The installed bundle of weights, read as plain files: no network is loaded here."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlb_core.documents import API, ModelDocument, ModelSummary
from dlb_core.errors import CheckpointCorrupt, JobNotFound

MANIFEST = "manifest.json"
CARD = "model_card.md"


@dataclass(frozen=True, slots=True)
class Bundles:
    """The bundles that jobs can use: one, in this folder."""

    folder: Path

    def summaries(self) -> tuple[ModelSummary, ...]:
        """Describe each bundle.

        Raises
        ------
        CheckpointCorrupt
            The manifest is missing or cannot be read.
        """
        return (_summary(*self._manifest()),)

    def document(self, model_id: str) -> ModelDocument:
        """Describe one bundle in full.

        Raises
        ------
        JobNotFound
            There is no such bundle.
        CheckpointCorrupt
            The manifest or the card is missing or cannot be read.
        """
        manifest, digest = self._manifest()
        summary = _summary(manifest, digest)
        if summary.id != model_id:
            raise JobNotFound("no such model: GET /v1/models lists those there are")
        return ModelDocument(**summary.model_dump(), manifest=manifest, card=self._card())

    def manifest(self) -> dict[str, Any]:
        """The manifest as it is.

        Raises
        ------
        CheckpointCorrupt
        """
        return self._manifest()[0]

    def _manifest(self) -> tuple[dict[str, Any], str]:
        """The manifest, and its digest."""
        try:
            content = (self.folder / MANIFEST).read_bytes()
            manifest = json.loads(content)
        except (OSError, ValueError) as error:
            raise CheckpointCorrupt(
                "the weights' manifest is missing or damaged: install the bundle again"
            ) from error
        if not isinstance(manifest, dict):
            raise CheckpointCorrupt("the weights' manifest is damaged: install the bundle again")
        return manifest, hashlib.sha256(content).hexdigest()

    def _card(self) -> str:
        """The model card."""
        try:
            return (self.folder / CARD).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise CheckpointCorrupt(
                "the weights' model card is missing: install the bundle again"
            ) from error


def _summary(manifest: dict[str, Any], digest: str) -> ModelSummary:
    """Pick out what a list shows."""
    missing = {"name", "version", "description"} - manifest.keys()
    if missing:
        raise CheckpointCorrupt(f"the weights' manifest lacks {', '.join(sorted(missing))}")
    name, version = str(manifest["name"]), str(manifest["version"])
    model_id = re.sub(r"[^a-z0-9.]+", "-", f"{name}-{version}".lower()).strip("-")
    return ModelSummary(
        id=model_id,
        name=name,
        version=version,
        description=str(manifest["description"]),
        sha256=digest,
        href=f"{API}/models/{model_id}",
    )
