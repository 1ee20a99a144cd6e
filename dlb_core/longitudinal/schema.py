"""Publish the schema of comparison.json: `python -m dlb_core.longitudinal.schema` writes it."""

import json
from pathlib import Path

from dlb_core.longitudinal.document import Comparison

TARGET = Path(__file__).parents[2] / "openapi" / "comparison.schema.json"


def render() -> str:
    """The JSON Schema (2020-12) of comparison.json, as text."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "comparison.json of DeepLesionBrain Service",
    }
    return json.dumps(head | Comparison.model_json_schema() | head, indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
