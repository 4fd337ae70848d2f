"use strict";
/* What `amg select` does, to the mask: thresholds, duplicates, what lies inside another.

Settings have the command's names. Scores are float32 there, so that thresholds are compared as
such; IoUs of boxes are rounded to it. */
{
  /** The masks that stay, best first: their indices. */
  amg.select = (masks, settings) => {
    const passing = masks.indices.filter((i) => passes(masks, settings, i));
    let kept = withoutDuplicates(masks, settings, passing);
    if (settings.containment_thresh < 1) {
      kept = withoutContained(masks, kept, settings.containment_thresh);
    }
    return settings.max_masks ? best(masks, kept, settings.max_masks) : kept;
  };

  /** An area in pixels; a share of the image where it is text such as "5%". */
  amg.areaPx = (area, [height, width]) =>
    typeof area === "string" ? (Number(area.replace(/%$/, "")) / 100) * height * width : area;

  /** The parent of each mask, the smallest that contains it, or null. */
  amg.parents = (masks, kept) => {
    const { area } = masks.columns;
    const isBefore = (i, j) => area[kept[j]] > area[kept[i]] || (area[kept[j]] === area[kept[i]] && j < i);
    return kept.map((mask, i) => {
      let parent = null;
      for (let j = 0; j < kept.length; j++) {
        const holds = j !== i && isBefore(i, j) && masks.inside(mask, kept[j]) >= CONTAINED;
        if (holds && (parent === null || !isBefore(parent, j))) parent = j;
      }
      return parent;
    });
  };

  const CONTAINED = 0.95;

  const passes = (masks, settings, i) => {
    const { pred_iou, stability_score, area, box } = masks.columns;
    const { pred_iou_thresh: iou, stability_score_thresh: stability } = settings;
    if (iou > 0 && pred_iou && !(Math.fround(pred_iou[i]) > Math.fround(iou))) return false;
    if (stability > 0 && stability_score) {
      if (!(Math.fround(stability_score[i]) >= Math.fround(stability))) return false;
    }
    const pixels = Math.fround(area[i]);
    if (pixels < Math.fround(amg.areaPx(settings.min_area, masks.hw))) return false;
    if (pixels > Math.fround(amg.areaPx(settings.max_area, masks.hw))) return false;
    if (!settings.drop_border) return true;
    const [left, top, right, bottom] = box[i];
    return left > 0 && top > 0 && right < masks.hw[1] - 1 && bottom < masks.hw[0] - 1;
  };

  /** Within each crop by predicted IoU, then between crops, where the smaller wins. */
  const withoutDuplicates = (masks, settings, passing) => {
    const crops = new Map();
    for (const i of passing) {
      const crop = String(masks.value("crop", i));
      if (!crops.has(crop)) crops.set(crop, []);
      crops.get(crop).push(i);
    }
    const iou = (i) => Math.fround(masks.value("pred_iou", i) ?? 0);
    const kept = [...crops.values()].flatMap((members) =>
      survivors(masks, sorted(members, iou), settings.box_nms_thresh, settings.nms),
    );
    if (masks.columns.nb_views === undefined || masks.columns.nb_views === 1) return kept;
    const smallness = (i) => 1 / amg.boxArea(masks.columns.crop[i]);
    return survivors(masks, sorted(kept, smallness), settings.crop_nms_thresh, settings.nms);
  };

  /** Best first; equal ones keep their order. */
  const sorted = (indices, score) => {
    const scores = new Map(indices.map((i) => [i, score(i)]));
    return [...indices].sort((i, j) => scores.get(j) - scores.get(i));
  };

  const survivors = (masks, bestFirst, thresh, by) => {
    if (by === "off") return bestFirst;
    if (by === "mask") {
      return greedy(bestFirst, (i, j) => masks.mostIou(i, j) > thresh && masks.iou(j, i) > thresh);
    }
    const kept = greedy(bestFirst, (i, j) => masks.boxIou(i, j) > thresh);
    return thresh >= 1 ? kept : withoutFlatCopies(masks, kept);
  };

  const greedy = (bestFirst, isDuplicate) => {
    const kept = [];
    for (const j of bestFirst) {
      if (!kept.some((i) => isDuplicate(i, j))) kept.push(j);
    }
    return kept;
  };

  /** Boxes a pixel wide or high have no area, and no IoU: there equal masks are the duplicates. */
  const withoutFlatCopies = (masks, kept) => {
    const before = new Set();
    return kept.filter((i) => {
      if (amg.boxArea(masks.columns.box[i]) !== 0) return true;
      const counts = masks.columns.rle[i];
      const isFirst = !before.has(counts);
      before.add(counts);
      return isFirst;
    });
  };

  const withoutContained = (masks, bestFirst, thresh) =>
    greedy(bestFirst, (i, j) => masks.inside(j, i) > thresh);

  const best = (masks, kept, count) => {
    const chosen = new Set(sorted(kept, (i) => masks.value("pred_iou", i) ?? 0).slice(0, count));
    return kept.filter((i) => chosen.has(i));
  };
}
