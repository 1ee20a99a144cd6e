"""The published schema is the one that reports follow."""

import json

from dlb_core.report.document import Report
from dlb_core.report.schema import TARGET, render


def test_the_published_schema_is_up_to_date() -> None:
    """Others check our reports against it; renew it with `make openapi`."""
    assert TARGET.read_text(encoding="utf-8") == render()


def test_the_schema_names_every_field_and_forbids_others() -> None:
    schema = json.loads(TARGET.read_text(encoding="utf-8"))

    assert set(schema["properties"]) == set(Report.model_fields)
    assert schema["additionalProperties"] is False
    assert set(schema["$defs"]) >= {"Lesion", "Totals", "LocationTotals", "QualityCheck"}
