"""Check what `make demo` left behind: every artefact, whole, and lesions where they are."""

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from dlb_core import artefacts
from dlb_core.metrics import dice
from dlb_core.report.document import Report, RunRecord
from dlb_core.synthesis.patient import FLAIR_FILE, LESIONS_FILE

MINIMUM_DICE = 0.5

folder = Path(sys.argv[1])
results, sample = folder / "results", folder / "sample"
missing = {name for name in artefacts.ALL if not (results / name).is_file()}
assert not missing, f"the demo left no {sorted(missing)}"

report = Report.model_validate_json((results / artefacts.REPORT_JSON).read_text())
RunRecord.model_validate_json((results / artefacts.RUN_JSON).read_text())
assert report.totals.lesion_count == len(report.lesions) > 0
html = (results / artefacts.REPORT_HTML).read_text()
assert "esearch use" in html, "the report lacks its research-use statement"

given, mask = nib.load(sample / FLAIR_FILE), nib.load(results / artefacts.MASK_FLAIR)
assert mask.shape == given.shape, (mask.shape, given.shape)
assert np.array_equal(mask.affine, given.affine), "the mask lies elsewhere than the FLAIR"
truth = np.asarray(nib.load(sample / LESIONS_FILE).dataobj) > 0
found = np.asarray(mask.dataobj) > 0
score = dice(found, truth)
print(json.dumps({"dice": round(score, 3), "lesions": report.totals.lesion_count}))
assert score > MINIMUM_DICE, f"Dice {score:.3f} with the known lesions"
