"use strict";
/* The sliders, each with a number beside it and how often its values occur. */
{
  const LEAST_SHARE = -6; // of the image, as a power of ten: the left end of the sliders of areas

  /** A slider's place in [0, 1] for a share of the image in %, on a logarithmic scale. */
  const placeOfShare = (percent) =>
    percent <= 0 ? 0 : Math.min(1, Math.max(0, 1 - Math.log10(percent / 100) / LEAST_SHARE));
  const shareOfPlace = (place) =>
    place <= 0 ? 0 : Number((100 * 10 ** (LEAST_SHARE * (1 - place))).toPrecision(2));
  const percentOf = (area, hw) => (100 * amg.areaPx(area, hw)) / (hw[0] * hw[1]);

  const PIECE_MS = 8; // of work, before the page may do something else

  /** In whole thousandths of its range, but exactly what was typed where that was. */
  const plain = (low, high) => ({
    place: (value) => (value - low) / (high - low),
    value: (place) => Number((low + place * (high - low)).toFixed(3)),
  });
  const areas = {
    place: (value, hw) => placeOfShare(percentOf(value, hw)),
    value: (place) => (place <= 0 ? 0 : `${shareOfPlace(place)}%`),
  };

  /* low: values under it are cut; cuts: "low" or "high", on which side of it. */
  const CONTROLS = [
    { name: "pred_iou_thresh", label: "Predicted IoU over", column: "pred_iou", scale: plain(0, 1.1), cuts: "low" },
    { name: "stability_score_thresh", label: "Stability at least", column: "stability_score", scale: plain(0, 1), cuts: "low" },
    { name: "min_area", label: "Area at least", column: "area", scale: areas, cuts: "low" },
    { name: "max_area", label: "Area at most", column: "area", scale: areas, cuts: "high" },
    { name: "box_nms_thresh", label: "Duplicates: IoU over", scale: plain(0, 1), cuts: "high" },
    { name: "crop_nms_thresh", label: "Duplicates between crops: IoU over", scale: plain(0, 1), cuts: "high" },
    { name: "containment_thresh", label: "Inside a better one: share over", scale: plain(0, 1), cuts: "high" },
  ];

  amg.SettingsPanel = class {
    /** changed: called with the settings whenever they change */
    constructor(changed) {
      this.changed = changed;
      this.settings = { ...amg.startSettings(), ...amg.memory.read(`settings:${amg.index.id}`) };
      this.controls = CONTROLS.filter((control) => this.isOf(control)).map((control) => this.made(control));
      this.kind = this.choice();
      this.reset = amg.element("button", { type: "button", textContent: "As the run had them" });
      this.reset.onclick = () => this.set(amg.startSettings());
      this.element = amg.element(
        "section",
        { className: "settings", aria: { label: "Settings" } },
        ...this.controls.flatMap(({ name, element }) =>
          name === "box_nms_thresh" ? [this.kind, element] : [element],
        ),
        this.reset,
      );
      this.write();
    }

    isOf({ name, column }) {
      if (name === "crop_nms_thresh") return amg.index.has_crops;
      return !column || column === "area" || amg.index.columns.includes(column);
    }

    made(control) {
      const id = `setting-${control.name}`;
      const slider = amg.element("input", { type: "range", min: 0, max: 1, step: "any", id: `${id}-slider` });
      slider.setAttribute("aria-label", control.label);
      const text = amg.element("input", { type: "text", id, inputMode: "decimal", autocomplete: "off", size: 7 });
      const bars = amg.element("canvas", { className: "histogram", aria: { hidden: "true" } });
      const element = amg.element(
        "div",
        { className: "setting", data: { name: control.name } },
        amg.element("label", { htmlFor: id, textContent: control.label }),
        text,
        bars,
        slider,
      );
      const made = { ...control, slider, text, bars, element, counts: [] };
      slider.addEventListener("input", () => this.set({ [control.name]: this.slid(made) }));
      text.addEventListener("change", () => this.typed(made));
      return made;
    }

    /** The value of a slider's place; not under what the candidates were kept over. */
    slid({ name, scale, slider }) {
      return amg.atLeastFloor(name, scale.value(Number(slider.value)));
    }

    typed({ name, text }) {
      const value = amg.settingOf(name, text.value);
      if (value === null) text.setAttribute("aria-invalid", "true");
      else this.set({ [name]: amg.atLeastFloor(name, value) });
    }

    choice() {
      const kinds = { box: "boxes", mask: "masks", off: "nothing: all stay" };
      const select = amg.element("select", { id: "setting-nms" });
      for (const [value, label] of Object.entries(kinds)) select.append(amg.element("option", { value }, label));
      select.addEventListener("change", () => this.set({ nms: select.value }));
      this.select = select;
      return amg.element(
        "div",
        { className: "setting choice" },
        amg.element("label", { htmlFor: "setting-nms", textContent: "Duplicates are found by" }),
        select,
      );
    }

    set(values) {
      Object.assign(this.settings, values);
      this.write();
      this.keep();
      if ("nms" in values && this.masks) this.countOverlaps(this.masks);
      this.changed(this.settings);
    }

    /** Let the browser remember the settings, once a slider rests. */
    keep() {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => amg.memory.write(`settings:${amg.index.id}`, this.settings), 200);
    }

    /** Show the values of the settings, and of which masks these are. */
    write() {
      const hw = this.masks?.hw ?? [1000, 1000];
      this.select.value = this.settings.nms;
      for (const { name, scale, slider, text } of this.controls) {
        const value = this.settings[name];
        slider.value = scale.place(value, hw);
        slider.setAttribute("aria-valuetext", String(value));
        text.value = value;
        text.setAttribute("aria-invalid", "false");
      }
      this.drawBars();
    }

    drawBars() {
      const hw = this.masks?.hw ?? [1000, 1000];
      for (const { name, scale, bars, counts, cuts } of this.controls) {
        if (!bars.isConnected || !counts.length) continue;
        const place = scale.place(this.settings[name], hw);
        amg.drawHistogram(bars, counts, cuts === "low" ? place : 0, cuts === "high" ? place : 1);
      }
    }

    /** Another image: the bars of its masks. */
    open(masks) {
      this.masks = masks;
      for (const control of this.controls) {
        const { name, column, scale } = control;
        if (column) {
          const values = (masks.columns[column] ?? []).filter((value) => value !== null);
          control.counts = amg.histogram(values.map((value) => scale.place(value, masks.hw)));
        } else {
          control.counts = [];
        }
      }
      this.write();
      this.countOverlaps(masks);
    }

    /** The bars of what masks have in common with better ones; in pieces, as they take a while. */
    async countOverlaps(masks) {
      const settings = { ...this.settings };
      const ranked = amg.select(masks, amg.KEEP_ALL);
      const iou = settings.nms === "mask" ? (i, j) => masks.iou(i, j) : (i, j) => masks.boxIou(i, j);
      const ious = await this.most(masks, ranked, iou);
      // A mask is inside another only of those that stay when duplicates are gone.
      const kept = amg.select(masks, { ...settings, containment_thresh: 1 });
      const shares = await this.most(masks, kept, (i, j) => masks.inside(i, j));
      if (ious === null || shares === null) return;
      const of = { box_nms_thresh: ious, crop_nms_thresh: ious, containment_thresh: shares };
      for (const control of this.controls) {
        if (of[control.name]) control.counts = amg.histogram(of[control.name]);
      }
      this.drawBars();
    }

    /** For each mask the most it has in common with one before it; null once another image is shown. */
    async most(masks, bestFirst, common) {
      const most = new Array(bestFirst.length).fill(0);
      let end = performance.now() + PIECE_MS;
      for (let place = 1; place < bestFirst.length; place++) {
        for (let better = 0; better < place; better++) {
          if (!masks.touch(bestFirst[place], bestFirst[better])) continue;
          const value = common(bestFirst[place], bestFirst[better]);
          if (value > most[place]) most[place] = value;
        }
        if (performance.now() < end) continue;
        await new Promise((resume) => setTimeout(resume, PIECE_MS));
        if (this.masks !== masks) return null;
        end = performance.now() + PIECE_MS;
      }
      return most;
    }
  };

  /** The settings that a view begins with: the run's, or, of masks alone, those that cut nothing. */
  amg.startSettings = () => ({ ...amg.index.settings });

  /** By these all masks stay, best first. */
  amg.KEEP_ALL = {
    pred_iou_thresh: 0,
    stability_score_thresh: 0,
    min_area: 0,
    max_area: "100%",
    nms: "off",
    containment_thresh: 1,
  };

  /** A setting's value as it is typed: a number in its range; of areas, pixels or "5%". Or null. */
  amg.settingOf = (name, typed) => {
    const isArea = name.endsWith("_area");
    const [, digits, percent] = typed.match(/^\s*([\d.]+(?:e-?\d+)?)\s*(%?)\s*$/i) ?? [];
    const number = Number(digits);
    const [low, high] = isArea ? [0, percent ? 100 : null] : amg.index.ranges[name];
    const isIn = number >= (low ?? -Infinity) && number <= (high ?? Infinity);
    if (digits === undefined || !Number.isFinite(number) || !isIn || (percent && !isArea)) return null;
    return percent ? `${number}%` : number;
  };

  /** A threshold is not lower than what the candidates were kept over. */
  amg.atLeastFloor = (name, value) => {
    const floor = amg.index.floors[name];
    return floor !== undefined && value < floor ? floor : value;
  };

  /** The command that gives the masks which are shown, for all images. */
  amg.command = (settings) => {
    const { command, defaults, own, kind } = amg.index;
    if (kind !== "candidates") return `${command} --decisions amg-decisions.json`;
    // The model's own settings hold where no way of finding duplicates is given.
    const isOwn = Object.entries(own).every(([name, value]) => String(settings[name]) === String(value));
    const without = isOwn ? { ...defaults, ...own } : defaults;
    const options = Object.entries(settings)
      .filter(([name, value]) => String(value) !== String(without[name]) || (name === "nms" && !isOwn))
      .map(([name, value]) => {
        const option = `--${name.replaceAll("_", "-")}`;
        return value === true ? option : `${option} ${value}`;
      });
    return [command, ...options].join(" ");
  };
}
