"use strict";
/* Two runs side by side: which masks both have, and which only one. */
{
  const SHOWN = { all: "All", both: "In both", one: "Only in one" };

  const LEAST_IOU = 0.5; // the lowest that the slider asks for

  /** All pairs of masks that may be the same, [left, right, IoU], the best overlap first. */
  amg.overlaps = (left, right) => {
    const pairs = [];
    for (const i of left.indices) {
      for (const j of right.indices) {
        const common = amg.commonOf(left, i, right, j);
        const iou = common / (left.columns.area[i] + right.columns.area[j] - common);
        if (iou >= LEAST_IOU) pairs.push([i, j, iou]);
      }
    }
    return pairs.sort((a, b) => b[2] - a[2] || a[0] - b[0] || a[1] - b[1]);
  };

  /** Pairs one to one, of those over an IoU. -> the indices on each side that have a partner */
  amg.matched = (overlaps, thresh) => {
    const found = [new Set(), new Set()];
    for (const [i, j, iou] of overlaps) {
      if (iou < thresh) break;
      if (found[0].has(i) || found[1].has(j)) continue;
      found[0].add(i);
      found[1].add(j);
    }
    return found;
  };

  /** Pixels in common of masks of two runs. */
  amg.commonOf = (left, i, right, j) => {
    const [a, b] = [left.columns.box[i], right.columns.box[j]];
    return amg.boxesTouch(a, b) ? amg.rle.common(left.runs(i), right.runs(j)) : 0;
  };

  amg.ComparePage = class {
    constructor(say) {
      this.say = say;
      this.thresh = amg.index.match_at;
      this.shown = "all";
      const canvas = () => amg.element("canvas", { className: "photo", tabIndex: 0, aria: { role: "img" } });
      this.canvases = [canvas(), canvas()];
      this.views = this.canvases.map(
        (each) => new amg.MaskCanvas(each, { moved: (view) => this.follow(view) }),
      );
      this.counts = [0, 1].map(() => amg.element("output", { className: "count" }));
      const names = [amg.index.title, amg.index.against];
      const sides = this.canvases.map((each, side) =>
        amg.element(
          "figure",
          { className: "side" },
          amg.element("figcaption", {}, amg.element("strong", { textContent: names[side] }), " ", this.counts[side]),
          each,
        ),
      );
      this.element = amg.element(
        "section",
        { className: "compare", aria: { label: "Two runs" } },
        this.choices(),
        amg.element("div", { className: "sides" }, ...sides),
      );
    }

    choices() {
      const radios = Object.entries(SHOWN).map(([value, text]) => {
        const radio = amg.element("input", { type: "radio", name: "shown", value, checked: value === this.shown });
        radio.onchange = () => {
          this.shown = value;
          this.update();
        };
        return amg.element("label", {}, radio, ` ${text}`);
      });
      const slider = amg.element("input", { type: "range", min: LEAST_IOU, max: 1, step: 0.01, value: this.thresh });
      const text = amg.element("output", { textContent: this.thresh.toFixed(2) });
      slider.oninput = () => {
        this.thresh = Number(slider.value);
        text.textContent = this.thresh.toFixed(2);
        this.update();
      };
      const same = amg.element("label", {}, "The same from an IoU of ", slider, " ", text);
      return amg.element("div", { className: "bar", aria: { role: "group", label: "Masks to show" } }, ...radios, same);
    }

    async open(key) {
      this.wanted = key;
      this.masks = null;
      const image = amg.image(key);
      const [record, photo] = await Promise.all([amg.load(key), amg.photo(image)]);
      if (this.wanted !== key) return;
      const sides = [record.masks, record.against];
      this.masks = sides.map((columns) => new amg.Masks(columns, record.hw));
      this.overlaps = amg.overlaps(...this.masks);
      this.views.forEach((view, side) => {
        view.numberOf = (i) => this.masks[side].number(i);
        view.open(this.masks[side], photo);
        this.canvases[side].setAttribute("aria-label", `${image.file_name}, ${side ? "right" : "left"}`);
      });
      this.update();
    }

    update() {
      if (!this.masks) return;
      const both = amg.matched(this.overlaps, this.thresh);
      this.views.forEach((view, side) => {
        const { indices, count } = this.masks[side];
        const wanted = {
          all: () => true,
          both: (i) => both[side].has(i),
          one: (i) => !both[side].has(i),
        }[this.shown];
        view.show(indices.filter(wanted));
        const only = count - both[side].size;
        this.counts[side].textContent = `${amg.count(count, "mask")}: ${both[side].size} in both, ${only} only here`;
      });
    }

    /** Both sides show the same part. */
    follow(view) {
      for (const other of this.views) {
        if (other === view || !other.masks) continue;
        Object.assign(other, { scale: view.scale, left: view.left, top: view.top });
        other.later();
      }
    }

    press(key) {
      if (!this.masks) return false;
      const [view] = this.views;
      const actions = {
        "+": () => view.zoom(1.25),
        "=": () => view.zoom(1.25),
        "-": () => view.zoom(0.8),
        0: () => view.fit(),
      };
      actions[key]?.();
      return key in actions;
    }
  };
}
