"use strict";
/* Masks as runs: where a mask begins and ends, again and again, read down its columns.

Runs are an Int32Array of starts and ends, which alternate and ascend; a pixel (x, y) of an image of
height H lies at x H + y. */
amg.rle = {
  /** The runs that COCO's compressed text stands for: base 32, differences from the third on. */
  runs(counts) {
    const lengths = [];
    let at = 0;
    while (at < counts.length) {
      let value = 0;
      let shift = 0;
      let code;
      do {
        code = counts.charCodeAt(at++) - 48;
        value |= (code & 31) << shift;
        shift += 5;
      } while (code & 32);
      if (code & 16 && shift < 32) value |= -1 << shift;
      if (lengths.length > 2) value += lengths[lengths.length - 2];
      lengths.push(value);
    }
    const runs = new Int32Array(lengths.length - (lengths.length % 2));
    let place = 0;
    for (let i = 0; i < runs.length; i++) runs[i] = place += lengths[i];
    return runs;
  },

  /** Pixels in a mask. */
  area(runs) {
    let area = 0;
    for (let i = 0; i < runs.length; i += 2) area += runs[i + 1] - runs[i];
    return area;
  },

  /** Pixels in both of two masks of one size. */
  common(a, b) {
    let i = 0;
    let j = 0;
    let common = 0;
    while (i < a.length && j < b.length) {
      const start = a[i] > b[j] ? a[i] : b[j];
      const end = a[i + 1] < b[j + 1] ? a[i + 1] : b[j + 1];
      if (end > start) common += end - start;
      if (a[i + 1] < b[j + 1]) i += 2;
      else j += 2;
    }
    return common;
  },

  /** Whether a pixel, by its place, is in a mask. */
  holds(runs, place) {
    let low = 0;
    let high = runs.length / 2;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (runs[2 * middle + 1] <= place) low = middle + 1;
      else high = middle;
    }
    return 2 * low < runs.length && runs[2 * low] <= place;
  },
};
