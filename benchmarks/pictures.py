"""Make the pictures of README and docs anew from results of the synthetic sample.

    dlb sample --output sample
    dlb segment --t1w sample/sub-demo_T1w.nii.gz --flair sample/sub-demo_FLAIR.nii.gz \\
        --label "synthetic sample" --output results
    python -m benchmarks.pictures results

It writes docs/images/report.jpg, the first two pages of report.pdf, and docs/images/viewer.png,
`dlb view` at its third lesion. It needs pdftoppm (Debian's poppler-utils) and Chromium.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import ViewportSize, sync_playwright

from dlb_core.artefacts import REPORT_PDF

IMAGES = Path(__file__).parents[1] / "docs" / "images"
PAGE_HEIGHT, OVERSAMPLING = 1060, 2
BETWEEN_PAGES = (201, 204, 222)
WINDOW = ViewportSize(width=1280, height=780)
LESION = 3
PATIENCE_MS = 600_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> int:
    """Make both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.add_argument("results", type=Path, help="what `dlb segment` wrote")
    folder: Path = parser.parse_args().results
    two_pages(folder / REPORT_PDF).save(IMAGES / "report.jpg", quality=88, optimize=True)
    picture_viewer(folder, IMAGES / "viewer.png")
    return 0


def two_pages(document: Path) -> Image.Image:
    """The first two pages side by side."""
    with tempfile.TemporaryDirectory() as work:
        command = ["pdftoppm", "-png", "-l", "2", "-scale-to", str(PAGE_HEIGHT * OVERSAMPLING)]
        subprocess.run([*command, str(document), f"{work}/page"], check=True)
        pages = [Image.open(path).convert("RGB") for path in sorted(Path(work).iterdir())]
    size = round(PAGE_HEIGHT * pages[0].width / pages[0].height), PAGE_HEIGHT
    both = Image.new("RGB", (2 * size[0] + 1, PAGE_HEIGHT), BETWEEN_PAGES)
    for n, page in enumerate(pages):
        both.paste(page.resize(size, Image.Resampling.LANCZOS), (n * (size[0] + 1), 0))
    return both


def picture_viewer(folder: Path, target: Path) -> None:
    """The viewer as a person has it before them."""
    code = "import sys; from dlb_core.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "view", str(folder)]
    found = next(filter(None, map(shutil.which, BROWSERS)))
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as viewer,
        sync_playwright() as playwright,
    ):
        try:
            assert viewer.stdout is not None
            address = re.findall(r"http://\S+", viewer.stdout.readline())[0]
            chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
            page = chromium.new_page(viewport=WINDOW)
            page.set_default_timeout(PATIENCE_MS)
            page.goto(address)
            page.locator("#where", has_text="lesion 1").wait_for()
            page.locator("#busy").wait_for(state="hidden")
            page.get_by_role("button", name=f"Go to lesion {LESION}", exact=True).click()
            page.locator("#where", has_text=f"lesion {LESION}").wait_for()
            page.screenshot(path=target)
            chromium.close()
        finally:
            viewer.terminate()


if __name__ == "__main__":
    sys.exit(main())
