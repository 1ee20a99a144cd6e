"""Where the weights that come with the install lie."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def default_bundle() -> Path:
    """Folder of the shipped bundle: in the package when installed, beside it in a clone."""
    installed = PACKAGE / "weights"
    return installed if installed.is_dir() else PACKAGE.parent / "weights"
