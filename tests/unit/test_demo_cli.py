"""The demonstration's command line."""

import argparse
from pathlib import Path

from dlb_core.cli import demo, submit


def test_the_demo_submits_with_every_option_that_submit_knows() -> None:
    """An option added to `dlb submit` must not break the demonstration."""
    parser = argparse.ArgumentParser()
    submit.add_parser(parser.add_subparsers())
    usual = parser.parse_args(["submit", "--t1w", "a b.nii", "--flair", "f.nii"])
    asked = argparse.Namespace(t1w=None, flair=None, input_state="raw")

    given = demo._submission(Path("a b.nii"), Path("f.nii"), asked, Path("out"), "http://h:1")

    changed = {"label": "synthetic demo patient", "output": Path("out"), "url": "http://h:1"}
    assert vars(given) == vars(usual) | changed
