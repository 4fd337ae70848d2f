"""The tables of the project's README, from `results/`: `python benchmarks/tables.py` writes them.

Each stands in README.md between `<!-- NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent.parent / "README.md"
REFERENCE = "mobilesam-mirror"
ENCODERS, PUBLISHED = ("vit_t", "vit_b"), ("mobile_sam", "segment_anything")
MODELS = ("nano", "vit_t")
NEWER = (
    *("sam2.1_t", "sam2.1_t-m2m", "sam2.1_s", "sam2.1_b+", "sam2.1_l"),
    *("hq_vit_t", "hq_vit_b", "hq_vit_l", "hq_vit_h"),
)
CONTENDERS = ("amg fp32", "amg bf16", "ONNX Runtime")


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def speed() -> str:
    """Seconds of each contender on each image: median, spread, and the reference's multiple."""
    runs = json.loads((RESULTS / "speed-vit_t.json").read_text())["summary"]
    images = list(dict.fromkeys(run["image"] for run in runs))
    of = {(run["contender"], run["image"]): run for run in runs}
    rows = []
    for name in dict.fromkeys(run["contender"] for run in runs):
        mine = [of[name, image] for image in images]
        ratios = [of[REFERENCE, i]["median_s"] / of[name, i]["median_s"] for i in images]
        cells = [f"{r['median_s']:.1f} ({r['min_s']:.1f} to {r['max_s']:.1f})" for r in mine]
        memory = f"{max(run['peak_mb'] for run in mine) / 1000:.1f} GB"
        rows.append([name, *cells, f"{statistics.median(ratios):.1f} ×", memory])
    return markdown(["seconds", *images, "faster", "peak memory"], rows)


def folder() -> str:
    """Seconds a photograph over a folder, and the reference's multiple."""
    runs = json.loads((RESULTS / "folder.json").read_text())["summary"]
    (reference,) = (run["median_s"] for run in runs if run["contender"] == REFERENCE)
    rows = []
    for run in runs:
        seconds = f"{run['median_s']:.2f} ({run['min_s']:.2f} to {run['max_s']:.2f})"
        ratio = f"{reference / run['median_s']:.0f} ×"
        rows.append([run["contender"], seconds, ratio, f"{run['peak_mb'] / 1000:.1f} GB"])
    return markdown(["seconds a photograph", "", "faster", "peak memory"], rows)


def cost() -> str:
    """What one image costs by its number of points, its size, and threads."""
    runs = json.loads((RESULTS / "sizes-vit_t.json").read_text())["runs"]
    rows = []
    for run in runs:
        kind, value = next(iter(run.items()))
        kind = kind.removesuffix("s") if value == 1 else kind
        seconds, memory = f"{run['seconds']:.1f}", f"{run['peak_mb'] / 1000:.2f} GB"
        rows.append([f"{value} {kind}", seconds, memory])
    return markdown(["dog.jpg, scaled", "seconds", "peak memory"], rows)


def encoders() -> str:
    """Seconds of the image encoder alone, by each contender."""
    found = [json.loads((RESULTS / f"encoders-{name}.json").read_text()) for name in ENCODERS]
    published = [result[name] for result, name in zip(found, PUBLISHED, strict=True)]
    rows = {name: [result[name] for result in found] for name in CONTENDERS}
    rows["as published"] = published
    cells = [[name, *(f"{result['median_s']:.2f}" for result in row)] for name, row in rows.items()]
    return markdown(["seconds", *ENCODERS], cells)


def encoder_dtypes() -> str:
    """Encoders in 16 and 8 bits: seconds, and for `nano` what becomes of its masks."""
    models = ("vit_b", "vit_t", "nano")
    found = [json.loads((RESULTS / f"encoder_dtypes-{name}.json").read_text()) for name in models]
    rows = []
    for dtype in found[0]["dtypes"]:
        of_models = [each["dtypes"][dtype] for each in found]
        seconds = [f"{statistics.median(each['seconds']):.2f}" for each in of_models]
        scores = of_models[-1]["scores"]
        against = scores["run against run"]
        matched = [f"{100 * against[f'matched at IoU {iou}']:.1f} %" for iou in ("0.98", "0.9")]
        rows.append([dtype, *seconds, *matched, _figure(scores["all"]["AR@1000"])])
    seconds = [f"seconds, `{name}`" for name in models]
    masks = ["`nano`'s masks as in fp32 at IoU .98", "at .9", "AR@1000"]
    return markdown(["encoder in", *seconds, *masks], rows)


def scaling() -> str:
    """Seconds by threads and by workers, and which of them are predicted."""
    found = json.loads((RESULTS / "scaling.json").read_text())
    threads, workers = found["threads"]["seconds"], found["workers"]["seconds a photograph"]
    rows = []
    for count in threads:
        how = "measured" if int(count) in found["measured"] else "predicted"
        rows.append([count, f"{threads[count]:.1f}", f"{workers[count]:.2f}", how])
    head = ["", "one image by so many threads, `vit_t`", "a photograph by so many workers, `nano`"]
    return markdown([*head, ""], rows)


def start_up() -> str:
    """Seconds of each stage of a process around its first image: median and spread."""
    found = json.loads((RESULTS / "start_up.json").read_text())
    rows = [*found["stages"].items(), ("amg --help, all of it", found["amg --help"])]
    cells = [[n, *(f"{t[kind]:.2f}" for kind in ("median_s", "min_s", "max_s"))] for n, t in rows]
    return markdown(["seconds", "median", "least", "most"], cells)


def fast_sam() -> str:
    """Seconds of everything by `nano`, and of FastSAM's networks alone, by image."""
    names, images, median = _in_process("fast_sam")
    rows = [[name, *(f"{median[name, image]:.2f}" for image in images)] for name in names]
    return markdown(["seconds", *images], rows)


def clicks() -> str:
    """Milliseconds of one prompt by hand on an encoded photograph, by each contender."""
    found = json.loads((RESULTS / "clicks.json").read_text())
    names = ("vit_t", "nano", "mobilesam-mirror")
    cells = []
    for name in names:
        row = [name]
        for kind in ("click", "box"):
            times = found[name][kind]
            low, median, high = times["quartiles"]
            faster = found["mobilesam-mirror"][kind]["median_ms"] / median
            row += [f"{median:.0f} ({low:.0f} to {high:.0f})", f"{faster:.1f} ×"]
        cells.append(row)
    return markdown(["milliseconds", "a click, three masks", "", "a box, one mask", ""], cells)


def gpu() -> str:
    """Milliseconds of one image on a GPU, without start-up, by each contender."""
    names, images, median = _in_process("gpu-vit_t")
    rows = []
    for name in names:
        cells = [f"{1000 * median[name, image]:.0f}" for image in images]
        ratios = [median["mobile_sam", image] / median[name, image] for image in images]
        rows.append([name, *cells, f"{statistics.median(ratios):.1f} ×"])
    return markdown(["milliseconds", *images, "faster"], rows)


def _in_process(name: str) -> tuple[list[str], list[str], dict[tuple[str, str], float]]:
    """Of `in_turn`: contenders, images, and the median seconds of each of both."""
    runs = json.loads((RESULTS / f"{name}.json").read_text())["runs"]
    median = {(run["contender"], run["image"]): statistics.median(run["seconds"]) for run in runs}
    names, images = (list(dict.fromkeys(run[of] for run in runs)) for of in ("contender", "image"))
    return names, images, median


def quality() -> str:
    """Class-agnostic average recall of each method on each COCO-like data set."""
    head = ["", "data", "masks an image", "AR@100", "AR@1000", "small", "medium", "large"]
    head += ["best IoU", "one point: first, best of three", "one box: the same"]
    results = [result for result in _results() if "segments" in result[2]["scores"]]
    return markdown(head, [_recall(*result) for result in results])


def partitions() -> str:
    """How each method's masks, flattened, agree with the people of BSDS."""
    head = ["", "covering: best, mean", "Rand index", "variation of information"]
    rows = []
    for name, _, found in _results():
        scores = found["scores"]
        if "covering" not in scores:
            continue
        pairs = [scores[key] for key in ("covering", "rand index", "variation of information")]
        rows.append([name, *(f"{pair['best']:.3f}, {pair['mean']:.3f}" for pair in pairs)])
    return markdown(head, rows)


def _results() -> Iterator[tuple[str, str, Any]]:
    """Method, data set and figures of each `quality-METHOD-DATA.json`, models first."""
    files = [path.stem.split("-", 1)[1].rsplit("-", 1) for path in RESULTS.glob("quality-*.json")]
    for name, data in sorted(files, key=lambda pair: (pair[1], pair[0] not in MODELS, pair)):
        yield name, data, json.loads((RESULTS / f"quality-{name}-{data}.json").read_text())


def _recall(name: str, data: str, found: Any) -> list[str]:
    scores = found["scores"]["all"]
    segments = found["scores"]["segments"]
    keys = ("AR@100", "AR@1000", *(f"AR@1000 {size}" for size in ("small", "medium", "large")))
    recalls = [_figure(scores[key]) for key in keys]
    prompted = [_prompted(found["scores"].get(kind)) for kind in ("one point", "one box")]
    masks = f"{segments['masks an image']:.0f}"
    return [
        name,
        f"{data} ({found['images']})",
        masks,
        *recalls,
        _figure(segments["mean best IoU"]),
        *prompted,
    ]


def _prompted(scores: dict[str, float] | None) -> str:
    return "–" if scores is None else f"{scores['first']:.3f}, {scores['best of three']:.3f}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def selecting() -> str:
    """Photographs a second of `amg select`, by its settings."""
    rates = json.loads((RESULTS / "selecting.json").read_text())["images_a_second"]
    rows = [[name, f"{rate:.0f}"] for name, rate in rates.items()]
    return markdown(["`amg select`, one core, candidates of `nano`", "photographs a second"], rows)


def boxes() -> str:
    """Mask AP of each model and of the published predictor, by a detector's boxes and true ones."""
    runs = json.loads((RESULTS / "boxes.json").read_text())["runs"]
    of = {(run["contender"], run["boxes"], run["refined"]): run for run in runs}
    rows = []
    for name in dict.fromkeys(run["contender"] for run in runs):
        for refined in (False, True):
            row = [name, "refined" if refined else "once"]
            for given in ("detections", "true"):
                run = of.get((name, given, refined), {})
                row += [_figure(run.get(figure)) for figure in ("AP", "AP50", "AR@100")]
            rows.append(row)
    head = ["", "", "detector's boxes: AP", "AP50", "AR", "true boxes: AP", "AP50", "AR"]
    return markdown(head, rows)


def edges() -> str:
    """BSDS500's figures of each model's edges, and of classical detectors."""
    rows = []
    files = sorted(RESULTS.glob("edges-*.json"))
    order = [*MODELS, "structured-forest", "canny", "sobel", "edge-drawing"]
    for path in sorted(files, key=lambda path: order.index(path.stem[6:].rsplit("-", 1)[0])):
        found = json.loads(path.read_text())
        name = path.stem[6:].rsplit("-", 1)[0]
        scores = found["scores"]["edges"]
        cells = [f"{scores[figure]:.3f}" for figure in ("ODS", "OIS", "AP", "R50")]
        rows.append([name, str(found["images"]), *cells])
    return markdown(["", "photographs", "ODS", "OIS", "AP", "R50"], rows)


def onnx() -> str:
    """Of everything by exported graphs, how far it is `amg`'s, by the dtype of the graphs."""
    rows = []
    for found in json.loads((RESULTS / "onnx-nano.json").read_text()):
        scores = found["scores"]
        against = scores["run against run"]
        matched = [f"{100 * against[f'matched at IoU {iou}']:.1f} %" for iou in ("0.98", "0.9")]
        size = f"{found['bytes'] / 1e6:.0f} MB" if "bytes" in found else "–"
        recall = _figure(scores["all"]["AR@1000"])
        rows.append(
            [found["dtype"].replace("amg", "`amg`"), size, str(against["masks"]), *matched, recall]
        )
    head = ["nano", "graphs", "masks", "as `amg`'s at IoU .98", "at .9", "AR@1000"]
    return markdown(head, rows)


def newer() -> str:
    """Everything by SAM 2 and SAM-HQ beside their published generators: seconds and memory."""
    rows = []
    for name in NEWER:
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text())
        settings, runs = found["settings"], {run["contender"]: run for run in found["runs"]}
        seconds = {kind: statistics.median(run["seconds"]) for kind, run in runs.items()}
        refined = ", each refined" if settings.get("use_m2m") else ""
        points = f"{settings['points_per_side']} × {settings['points_per_side']}{refined}"
        both = [f"{seconds[kind]:.1f}" for kind in ("amg fp32", "published")]
        peaks = [f"{runs[kind]['peak_mb'] / 1000:.1f} GB" for kind in ("amg fp32", "published")]
        encoder = f"{seconds['encoder']:.1f}" if "encoder" in seconds else "–"
        faster = f"{seconds['published'] / seconds['amg fp32']:.1f} ×"
        rows.append([found["model"], points, *both, faster, encoder, *peaks])
    head = ["dog.jpg", "points", "seconds", "as published", "faster", "of it the encoder"]
    return markdown([*head, "peak memory", "as published"], rows)


TABLES = (
    *(speed, folder, fast_sam, encoders, encoder_dtypes, clicks, cost, scaling, start_up, gpu),
    *(quality, partitions, selecting, boxes, edges, onnx, newer),
)


def with_tables(text: str) -> str:
    """The README's text with every table as the results have it."""
    for make in TABLES:
        before, rest = text.split(f"<!-- {make.__name__} -->\n", 1)
        _, after = rest.split("<!-- end -->", 1)
        text = f"{before}<!-- {make.__name__} -->\n{make()}\n<!-- end -->{after}"
    return text


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
