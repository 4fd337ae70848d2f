"use strict";
/* The masks of an image, as columns, with what is worked out of them when it is first asked for. */
amg.Masks = class {
  /** record: columns of N masks: `rle`, `box` (XYXY, inclusive), `area`, and those that are known of
   * `pred_iou`, `stability_score`, `point`, `crop`, `id`, `parent`, `category`, `category_score`
   * hw: the image's height and width */
  constructor(record, hw) {
    this.columns = record;
    this.hw = hw;
    this.count = record.rle.length;
    this.indices = [...record.rle.keys()];
    this.found = new Map(); // pair -> pixels in common
    this.ofMask = new Array(this.count); // -> runs
  }

  /** A mask's value, or null. */
  value(name, i) {
    return this.columns[name]?.[i] ?? null;
  }

  /** By which files name a mask. */
  number(i) {
    return this.value("id", i) ?? i;
  }

  runs(i) {
    return (this.ofMask[i] ??= amg.rle.runs(this.columns.rle[i]));
  }

  /** Pixels that two masks have in common. */
  common(i, j) {
    if (!this.touch(i, j)) return 0;
    const pair = i < j ? i * this.count + j : j * this.count + i;
    let common = this.found.get(pair);
    if (common === undefined) {
      common = amg.rle.common(this.runs(i), this.runs(j));
      this.found.set(pair, common);
    }
    return common;
  }

  /** IoU of two masks. */
  iou(i, j) {
    const { area } = this.columns;
    const common = this.common(i, j);
    return common / (area[i] + area[j] - common);
  }

  /** What their IoU may be at most, by their boxes and areas, for nothing. */
  mostIou(i, j) {
    const { area, box } = this.columns;
    const [a, b] = [box[i], box[j]];
    const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]) + 1;
    const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]) + 1;
    const common = Math.min(Math.max(width, 0) * Math.max(height, 0), area[i], area[j]);
    return common / (area[i] + area[j] - common);
  }

  /** The share of a mask that lies in another. */
  inside(i, j) {
    return this.common(i, j) / this.columns.area[i];
  }

  /** IoU of two boxes, rounded as the command's is; NaN where neither has an area. */
  boxIou(i, j) {
    const [a, b] = [this.columns.box[i], this.columns.box[j]];
    const width = Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0);
    const height = Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
    const common = width * height;
    return Math.fround(common / (amg.boxArea(a) + amg.boxArea(b) - common));
  }

  /** Whether the boxes of two masks have a pixel in common. */
  touch(i, j) {
    return amg.boxesTouch(this.columns.box[i], this.columns.box[j]);
  }

  /** Of masks listed smallest first, those that hold a pixel. */
  at(x, y, smallestFirst) {
    const place = x * this.hw[0] + y;
    return smallestFirst.filter((i) => {
      const [left, top, right, bottom] = this.columns.box[i];
      const near = x >= left && x <= right && y >= top && y <= bottom;
      return near && amg.rle.holds(this.runs(i), place);
    });
  }
};

/** Whether two boxes have a pixel in common. */
amg.boxesTouch = (a, b) => a[0] <= b[2] && b[0] <= a[2] && a[1] <= b[3] && b[1] <= a[3];

amg.boxArea = ([left, top, right, bottom]) => (right - left) * (bottom - top);
