"""Make a version of a case for a service, in a process of its own: `python -m` this module.

It reads a `CorrectionRequest` from standard input and writes an `Outcome`, both JSON.
"""

import sys

from dlb_core.correction import correct_case
from dlb_core.corrections import RECORD, CorrectionRequest, Outcome, VersionRecord
from dlb_core.errors import DiskFull, InputError
from dlb_core.versions import version_folder


def main() -> None:
    """Make one version."""
    asked = CorrectionRequest.model_validate_json(sys.stdin.buffer.read())
    try:
        report = correct_case(asked.results, asked.mask, asked.reader)
    except (InputError, DiskFull) as error:
        outcome = Outcome(code=error.code, message=str(error))
    else:
        made = (version_folder(asked.results, report.version) / RECORD).read_bytes()
        outcome = Outcome(version=VersionRecord.model_validate_json(made))
    sys.stdout.write(outcome.model_dump_json() + "\n")


if __name__ == "__main__":
    main()
