"""Publish the schema of report.json: `python -m dlb_core.report.schema` writes it anew."""

import json
from pathlib import Path

from dlb_core.report.document import Report

TARGET = Path(__file__).parents[2] / "openapi" / "report.schema.json"


def render() -> str:
    """The JSON Schema (2020-12) of report.json, as text."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "report.json of DeepLesionBrain Service",
    }
    return json.dumps(head | Report.model_json_schema() | head, indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
