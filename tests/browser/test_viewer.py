"""The pages as a person uses them: upload, progress, images, lesions; and a key where one is asked.

Nothing of the service is replaced, and the browser is a real one. Pictures are looked at for what
must be in them, never compared pixel by pixel.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect

from dlb_core.contracts import Role
from dlb_core.nifti import write_volume
from tests.browser.conftest import PATIENCE_MS, Served, Watched
from tests.browser.viewer_pipeline import BOXES, PAUSE_AT, scan
from tests.unit.reports import report
from tests.unit.service_kit import Running

expect.set_options(timeout=PATIENCE_MS)

LESIONS = report(BOXES).lesions
AMBER = (255, 182, 39)
"""The mask's colour over nothing; mixed with the scan's grey it stays far from grey."""


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pair that is uploaded, under names that must not be sent on."""
    folder = tmp_path_factory.mktemp("scans")
    paths = {"t1w": folder / "Jane Doe T1w.nii.gz", "flair": folder / "Jane Doe FLAIR.nii.gz"}
    for part, role in (("t1w", "T1w"), ("flair", "FLAIR")):
        write_volume(paths[part], scan(role), dtype=np.int16)
    return paths


def fill(page: Page, scans: dict[str, Path], label: str) -> None:
    """Fill the form as a person does."""
    page.get_by_label("T1w image").set_input_files(scans["t1w"])
    page.get_by_label("FLAIR image").set_input_files(scans["flair"])
    page.get_by_label("Label").fill(label)


def pixels(page: Page, folder: Path) -> NDArray[np.int16]:
    """The canvas as it is seen."""
    path = folder / "canvas.png"
    page.locator("#canvas").screenshot(path=path)
    return np.asarray(Image.open(path).convert("RGB")).astype(np.int16)


def amber(picture: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Where a picture shows the mask: red well above blue."""
    return picture[..., 0] - picture[..., 2] > 80


def where(point: tuple[float, float, float]) -> str:
    """How the page writes a place."""
    return ", ".join(f"{value:.1f}" for value in point).replace("-", "−")


def test_from_upload_to_a_lesion(
    served: Served, watched: Watched, scans: dict[str, Path], tmp_path: Path
) -> None:
    """The whole way of a person who has nothing but a browser."""
    page = watched.page
    sent: list[bytes] = []
    page.on(
        "request", lambda r: sent.append(r.post_data_buffer or b"") if r.method == "POST" else 0
    )
    page.goto(served.url)
    fill(page, scans, "case 7")
    page.get_by_label("Day of the scan").fill("2024-05-06")
    page.get_by_role("button", name="Segment").click()

    page.wait_for_url(re.compile(r"/v1/jobs/[0-9a-f-]+/view$"))
    job = page.request.get(page.url.removesuffix("/view")).json()
    assert job["options"]["scan_date"] == "2024-05-06"
    expect(page.locator("#waiting-title")).to_have_text(f"Running the networks: {PAUSE_AT} of 75")
    assert 0 < float(page.locator("#fraction").evaluate("bar => bar.value")) < 1
    assert sent
    assert not any(b"Jane" in body for body in sent)
    served.gate.touch()

    expect(page.locator("#where")).to_contain_text(where(LESIONS[0].centroid_mni_mm))
    expect(page.locator("#busy")).to_be_hidden()
    expect(page.locator("h1")).to_have_text("case 7")
    assert page.locator(".lesions tbody tr").count() == len(LESIONS) == 2
    with_mask = pixels(page, tmp_path)
    grey = (np.ptp(with_mask, axis=2) < 12) & (with_mask[..., 0] > 60)
    assert grey.mean() > 0.1, "no scan on the canvas"
    assert amber(with_mask).sum() > 100, "no lesion on the canvas"

    page.get_by_role("button", name="Go to lesion 2").click()
    expect(page.locator("#where")).to_contain_text(
        f"{where(LESIONS[1].centroid_mni_mm)} mm: lesion 2"
    )
    expect(page.locator("tr[aria-current]")).to_contain_text("2")

    _layers(page, tmp_path)
    _native_space_and_keys(page, tmp_path)
    _click_on_the_canvas(page, tmp_path)
    assert watched.faults == []


def _layers(page: Page, folder: Path) -> None:
    """Each layer comes and goes; a threshold hides what lies below it."""
    page.get_by_label("Lesion mask").uncheck()
    _await_picture(page, folder, lambda now: not amber(now).any())
    plain = pixels(page, folder)
    page.get_by_label("Agreement").check()
    # Lesion 2, looked at, has half of the votes.
    _await_picture(page, folder, lambda now: _differing(now, plain) > 8)
    page.locator("#agreement-threshold").fill("0.75")
    _await_picture(page, folder, lambda now: _differing(now, plain) == 0)
    page.get_by_label("Agreement").uncheck()
    page.get_by_label("Lesion mask").check()
    _await_picture(page, folder, lambda now: bool(amber(now).any()))
    filled = amber(pixels(page, folder))
    page.get_by_label("Outlines only").check()
    _await_picture(page, folder, lambda now: _surrounds(amber(now), filled))
    page.get_by_label("Outlines only").uncheck()
    _await_picture(page, folder, lambda now: bool((amber(now) == filled).all()))


def _surrounds(line: NDArray[np.bool_], lesions: NDArray[np.bool_]) -> bool:
    """Whether what lies beneath the lesions is seen, with a line around."""
    return bool(line.any() and (line & lesions).sum() < 0.25 * lesions.sum())


def _differing(one: NDArray[np.int16], other: NDArray[np.int16]) -> int:
    return int((np.abs(one - other).max(axis=2) > 20).sum())


def _await_picture(
    page: Page, folder: Path, condition: Callable[[NDArray[np.int16]], bool]
) -> None:
    """Look until the canvas is drawn anew."""
    for _ in range(50):
        if condition(pixels(page, folder)):
            return
        page.wait_for_timeout(200)
    raise AssertionError("the canvas does not show it")


def _native_space_and_keys(page: Page, folder: Path) -> None:
    """The scan as acquired lies elsewhere; the place in the brain stays the same."""
    page.locator("#canvas").focus()
    page.keyboard.press("s")
    expect(page.locator("input[name=space][value=native]")).to_be_checked()
    expect(page.locator("#busy")).to_be_hidden()
    expect(page.locator("#where")).to_contain_text("lesion 2")

    before = page.locator("#where").inner_text()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#where")).not_to_have_text(before)
    page.keyboard.press("p")
    expect(page.locator("#where")).to_contain_text("lesion 1")
    _await_picture(page, folder, lambda now: bool(amber(now).sum() > 30))


def _click_on_the_canvas(page: Page, folder: Path) -> None:
    """A click on a marked lesion marks its row."""
    page.get_by_role("button", name="Go to lesion 2").click()
    expect(page.locator("tr[aria-current]")).to_contain_text("2")
    page.get_by_label("Axial").check()
    page.get_by_role("button", name="Go to lesion 1").click()
    expect(page.locator("#where")).to_contain_text("lesion 1")
    for _ in range(4):
        page.locator("#canvas").press("ArrowUp")
        page.locator("#canvas").press("ArrowLeft")
    expect(page.locator("#where")).to_contain_text("no lesion here")
    rows, columns = np.nonzero(amber(pixels(page, folder)))
    page.locator("#canvas").click(
        position={"x": float(np.median(columns)), "y": float(np.median(rows))}
    )
    expect(page.locator("#where")).to_contain_text("lesion 1")


def test_the_page_asks_for_a_key_where_one_is_needed(
    watched: Watched, scans: dict[str, Path], tmp_path: Path
) -> None:
    """A person with a key must get as far as one where none is asked for."""
    page = watched.page
    running = Running(tmp_path, authentication="required")
    try:
        _, key = running.services.gate.keys.create("ward", Role.SUBMIT)
        page.goto(running.url)
        for attempt in ("dlb_mistyped", key):
            page.get_by_label("Key", exact=True).fill(attempt)
            page.get_by_role("button", name="Use this key").click()
        expect(page.locator("dialog")).to_have_count(0)
        fill(page, scans, "case 8")
        page.get_by_role("button", name="Segment").click()
        expect(page.locator("#waiting-title")).to_have_text("Waiting for a worker")
        page.get_by_role("button", name="Cancel this job").click()
        expect(page.locator("#problem")).to_contain_text("cancelled")
    finally:
        running.stop()

    assert all("401" in fault for fault in watched.faults)
