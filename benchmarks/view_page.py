"""How quick the page of `amg view` is in Chromium, at three widths.

    amg --input photos --output out --save-candidates && amg view out
    python benchmarks/view_page.py out/view --json benchmarks/results/view_page.json

Loading is from the address to the end of the page's load event. Redrawing is a slider's move: what
is selected, and all that is drawn, with 500 masks in view, of the image with most candidates.
"""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import click

WIDTHS = (480, 1280, 1920)
SHOWN = 500
MOVES = 60

# Thresholds so that SHOWN masks are in view; then the threshold that leaves fewest out, moved.
MEASURE = """([shown, moves]) => {
  const { panel, masks, view, kept } = amg.page();
  panel.set({ nms: "off", pred_iou_thresh: 0, stability_score_thresh: 0, min_area: 0 });
  const scores = [...masks.columns.pred_iou].sort((a, b) => b - a);
  const base = scores[Math.min(shown, scores.length - 1)];
  panel.set({ pred_iou_thresh: base });
  const times = [];
  for (let move = 0; move < moves; move++) {
    const start = performance.now();
    panel.set({ pred_iou_thresh: base + (move % 2) * 1e-4 });
    times.push(performance.now() - start);
  }
  panel.set({ pred_iou_thresh: base });
  const off = amg.page().kept.length;
  const real = { nms: "mask", box_nms_thresh: 0.8 };
  panel.set(real);
  const nms = [];
  for (let move = 0; move < moves; move++) {
    const start = performance.now();
    panel.set({ box_nms_thresh: 0.8 + 0.001 * (move % 20) });
    nms.push(performance.now() - start);
  }
  return { off, times, nms, candidates: masks.count, hw: masks.hw };
}"""


def measured(page: Any, address: str, width: int) -> dict[str, Any]:
    """Milliseconds of loading the gallery and an image, and of a slider's moves."""
    page.goto(address)
    script = "performance.getEntriesByType('navigation')[0].loadEventEnd"
    page.wait_for_function(f"{script} > 0")
    gallery = page.evaluate(script)
    first = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    key = page.evaluate(
        "amg.index.images.reduce((a, b) => ((b.masks ?? 0) > (a.masks ?? 0) ? b : a)).key"
    )
    start = page.evaluate("performance.now()")
    page.evaluate(f"location.hash = '{key}'")
    page.wait_for_function(f"amg.page()?.key === {key} && amg.page().kept")
    opened = page.evaluate("performance.now()") - start
    found = page.evaluate(MEASURE, [SHOWN, MOVES])
    return {
        "width": width,
        "images": page.evaluate("amg.index.images.length"),
        "gallery_ms": gallery,
        "first_paint_ms": first,
        "image_ms": opened,
        "candidates": found["candidates"],
        "shown": found["off"],
        "redraw_median_ms": statistics.median(found["times"]),
        "redraw_max_ms": max(found["times"]),
        "mask_nms_median_ms": statistics.median(found["nms"]),
        "mask_nms_max_ms": max(found["nms"]),
    }


@click.command()
@click.argument("view", type=click.Path(path_type=Path))
@click.option("--chromium", default=shutil.which("chromium"), help="The browser's program.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
@click.option("--pictures", type=click.Path(path_type=Path), help="A folder for screenshots.")
def main(view: Path, chromium: str, json_path: Path | None, pictures: Path | None) -> None:
    """Measure, print, and keep."""
    from playwright.sync_api import sync_playwright

    address = (view / "index.html").resolve().as_uri()
    rows = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width in WIDTHS:
            page = browser.new_page(viewport={"width": width, "height": 900})
            rows.append(measured(page, address, width))
            if pictures is not None:
                pictures.mkdir(exist_ok=True)
                page.screenshot(path=pictures / f"image-{width}.png")
                page.goto(address)
                page.screenshot(path=pictures / f"gallery-{width}.png")
            page.close()
        browser.close()
    for row in rows:
        print({name: round(value, 1) for name, value in row.items()})
    if json_path is not None:
        json_path.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
