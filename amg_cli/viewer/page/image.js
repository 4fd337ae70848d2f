"use strict";
/* One image: its masks over it, the sliders, the table, and what is wrong. */
{
  const KEYS = [
    ["← →", "image before, image after"],
    ["↑ ↓", "mask before, mask after"],
    ["x", "mark the selected masks as wrong, or not"],
    ["k", "keep only the selected masks of those shown"],
    ["+ − 0", "larger, smaller, whole image"],
    ["o", "outlines on or off"],
    ["m", "masks on or off"],
    ["Esc", "select nothing; then back to all images"],
  ];
  const TABLE_WAITS_MS = 80; // while a slider moves, the table is not written anew each time

  amg.ImagePage = class {
    constructor(decisions, say) {
      Object.assign(this, { decisions, say, hidden: false });
      this.table = new amg.Table({
        hover: (index) => this.view.hover(index),
        pick: (index, event) => this.select(index, event.shiftKey || event.ctrlKey || event.metaKey),
      });
      this.panel = new amg.SettingsPanel(() => this.update());
      this.canvas = amg.element("canvas", { className: "photo", tabIndex: 0, aria: { role: "img" } });
      this.tip = amg.element("div", { className: "tip", hidden: true });
      this.count = amg.element("output", { className: "count" });
      this.command = amg.element("code", { className: "command", tabIndex: 0, aria: { label: "Command" } });
      this.view = new amg.MaskCanvas(this.canvas, {
        hover: (index, event) => this.showTip(index, event),
        pick: (indices, event) => this.pick(indices, event.shiftKey || event.ctrlKey || event.metaKey),
      });
      this.element = amg.element(
        "section",
        { className: "image", aria: { label: "Image" } },
        amg.element("div", { className: "stage" }, this.canvas, this.tip, this.look()),
        amg.element("aside", {}, this.panel.element, this.commandBox(), this.review(), this.table.element),
      );
    }

    /** Opacity, outlines, and the keys. */
    look() {
      const opacity = amg.element("input", { type: "range", min: 0, max: 1, step: 0.05, value: 0.45 });
      opacity.oninput = () => {
        this.view.opacity = Number(opacity.value);
        this.view.later();
      };
      this.outlines = amg.element("input", { type: "checkbox", checked: true });
      this.outlines.onchange = () => {
        this.view.outlines = this.outlines.checked;
        this.view.later();
      };
      const keys = amg.element("dl");
      for (const [key, text] of KEYS) {
        keys.append(amg.element("dt", { textContent: key }), amg.element("dd", { textContent: text }));
      }
      return amg.element(
        "div",
        { className: "look" },
        amg.element("label", {}, "Opacity ", opacity),
        amg.element("label", {}, this.outlines, " Outlines"),
        amg.element("details", {}, amg.element("summary", { textContent: "Keys" }), keys),
      );
    }

    commandBox() {
      const copy = amg.element("button", { type: "button", textContent: "Copy" });
      copy.onclick = async () => {
        try {
          await navigator.clipboard.writeText(this.command.textContent);
          this.say("The command is copied.");
        } catch {
          getSelection().selectAllChildren(this.command);
          this.say("The browser does not let the page copy; the command is selected.");
        }
      };
      const text = "These masks of all images, by a command:";
      return amg.element(
        "section",
        { className: "command-box", aria: { label: "Command for these masks" } },
        amg.element("p", { textContent: amg.index.note ?? text }),
        amg.element("div", {}, this.command, copy),
      );
    }

    /** Buttons for what is wrong. */
    review() {
      const button = (textContent, onclick) => amg.element("button", { type: "button", textContent, onclick });
      this.file = amg.element("input", { type: "file", accept: ".json", hidden: true });
      this.file.onchange = () => this.load();
      return amg.element(
        "section",
        { className: "review", aria: { label: "Review" } },
        button("Wrong (x)", () => this.markSelected()),
        button("Keep only these (k)", () => this.keepSelected()),
        button("Save decisions", () => this.save()),
        button("Load decisions", () => this.file.click()),
        this.file,
        this.count,
      );
    }

    /** Nothing, so that what is done meanwhile is of no image. */
    close() {
      Object.assign(this, { key: null, masks: null, kept: [] });
      clearTimeout(this.timer);
      this.view.close();
      this.table.show([]);
      this.count.textContent = "";
      this.tip.hidden = true;
    }

    /** Another image. */
    async open(key) {
      this.wanted = key;
      this.close();
      const image = amg.image(key);
      const [record, photo] = await Promise.all([amg.load(key), amg.photo(image)]);
      if (this.wanted !== key) return; // another was asked for since
      this.key = key;
      this.masks = new amg.Masks(record.masks, record.hw);
      this.numbers = this.startNumbers();
      this.view.numberOf = (i) => this.numbers.get(i);
      this.view.open(this.masks, photo);
      this.view.marked = this.decisions.of(key);
      this.canvas.setAttribute("aria-label", `${image.file_name} with its masks`);
      this.panel.open(this.masks);
      this.update(true);
    }

    /** By which masks have their colours, whatever the sliders do: the run's numbers, then others. */
    startNumbers() {
      if (amg.index.kind === "masks") {
        return new Map(this.masks.indices.map((i) => [i, this.masks.number(i)]));
      }
      const first = amg.select(this.masks, amg.startSettings());
      const numbers = new Map(first.map((i, place) => [i, place]));
      let next = first.length;
      for (const i of this.masks.indices) if (!numbers.has(i)) numbers.set(i, next++);
      return numbers;
    }

    /** The masks by the settings as they are now. */
    update(isNew = false) {
      if (!this.masks) return;
      const { settings } = this.panel;
      this.kept = amg.select(this.masks, settings);
      const shown = new Set(this.kept);
      this.view.selected = new Set([...this.view.selected].filter((index) => shown.has(index)));
      this.view.show(this.hidden ? [] : this.kept);
      this.command.textContent = amg.command(settings);
      this.writeCount();
      clearTimeout(this.timer);
      if (isNew) this.writeTable();
      else this.timer = setTimeout(() => this.writeTable(), TABLE_WAITS_MS);
    }

    writeCount() {
      const marked = this.decisions.of(this.key);
      const wrong = this.kept.filter((index) => marked.has(index)).length;
      this.count.textContent = amg.count(this.kept.length, "mask") + (wrong ? `, ${wrong} marked wrong` : "");
    }

    writeTable() {
      const parents = this.parents();
      this.table.show(this.kept.map((index, place) => this.row(index, place, parents[place])));
      this.table.highlight(this.view.selected, this.decisions.of(this.key));
    }

    parents() {
      if (!amg.index.columns.includes("parent")) return [];
      if (amg.index.kind === "masks") return this.kept.map((index) => this.masks.value("parent", index));
      return amg.parents(this.masks, this.kept);
    }

    row(index, place, parent = null) {
      const value = (name) => this.masks.value(name, index);
      const number = amg.index.kind === "masks" ? this.numbers.get(index) : place;
      return {
        index,
        number,
        parent,
        colour: this.numbers.get(index),
        area: value("area"),
        pred_iou: value("pred_iou"),
        stability_score: value("stability_score"),
        category: value("category"),
        category_score: value("category_score"),
      };
    }

    /** What is known of the mask under the pointer. */
    showTip(index, event) {
      const row = index === null ? null : this.table.rows.find((each) => each.index === index);
      this.tip.hidden = !row;
      if (!row) return;
      const share = (100 * row.area) / (this.masks.hw[0] * this.masks.hw[1]);
      const facts = [
        `mask ${row.number}`,
        `${amg.number(row.area)} px, ${share.toPrecision(2)} %`,
        row.pred_iou === null ? null : `predicted IoU ${amg.digits(row.pred_iou)}`,
        row.stability_score === null ? null : `stability ${amg.digits(row.stability_score)}`,
        row.category === null ? null : `${row.category} ${amg.digits(row.category_score, 2)}`,
        row.parent === null ? null : `part of ${row.parent}`,
        this.decisions.of(this.key).has(index) ? "marked wrong" : null,
      ];
      const point = this.masks.value("point", index);
      if (point) facts.push(`point ${point.map((value) => value.toFixed(1)).join(", ")}`);
      this.tip.replaceChildren(...facts.filter(Boolean).map((text) => amg.element("div", { textContent: text })));
      const { clientWidth, clientHeight } = this.canvas;
      const [x, y] = [event.offsetX + 14, event.offsetY + 14];
      this.tip.style.left = `${Math.min(x, clientWidth - this.tip.offsetWidth)}px`;
      this.tip.style.top = `${Math.min(y, clientHeight - this.tip.offsetHeight)}px`;
    }

    /** The smallest mask at a point; if that is selected, the next larger. */
    pick(indices, isMore) {
      if (!indices.length) return this.select(null, false);
      const at = indices.findIndex((index) => this.view.selected.has(index));
      return this.select(indices[(at + 1) % indices.length], isMore);
    }

    select(index, isMore) {
      const selected = new Set(isMore ? this.view.selected : []);
      if (index !== null && isMore && selected.has(index)) selected.delete(index);
      else if (index !== null) selected.add(index);
      this.view.selected = selected;
      this.view.later();
      this.table.highlight(selected);
      if (index !== null) this.table.reveal(index);
    }

    /** The mask before or after in the table. */
    step(by) {
      const order = this.table.indices;
      if (!order.length) return;
      const at = order.findIndex((index) => this.view.selected.has(index));
      const next = at < 0 ? (by > 0 ? 0 : order.length - 1) : (at + by + order.length) % order.length;
      this.select(order[next], false);
      const { number, area } = this.table.rows.find((row) => row.index === order[next]);
      this.say(`Mask ${number}, ${amg.number(area)} pixels`);
    }

    markSelected() {
      if (!this.masks) return undefined;
      const { selected } = this.view;
      if (!selected.size) return this.say("Select masks first, by a click; more with the shift key.");
      const wrong = this.decisions.of(this.key);
      return this.mark(selected, ![...selected].every((index) => wrong.has(index)));
    }

    keepSelected() {
      if (!this.masks) return undefined;
      const { selected } = this.view;
      if (!selected.size) return this.say("Select the masks to keep first.");
      this.mark(selected, false);
      return this.mark(this.kept.filter((index) => !selected.has(index)), true);
    }

    mark(indices, isWrong) {
      const isKept = this.decisions.mark(this.key, indices, isWrong);
      this.showMarks();
      if (!isKept) this.say("The browser keeps nothing for this page: save the decisions before you close it.");
    }

    showMarks() {
      this.view.marked = this.decisions.of(this.key);
      this.view.later();
      this.table.highlight(this.view.selected, this.view.marked);
      this.writeCount();
    }

    async save() {
      try {
        const said = (done, all) => this.say(`${done} of ${all} images`);
        const values = await this.decisions.values(this.panel.settings, said);
        const blob = new Blob([JSON.stringify(values, null, 1), "\n"], { type: "application/json" });
        const link = amg.element("a", { href: URL.createObjectURL(blob), download: "amg-decisions.json" });
        link.click();
        URL.revokeObjectURL(link.href);
        this.say(`Saved. To apply the file: ${amg.index.command} --decisions amg-decisions.json`);
      } catch (error) {
        this.say(error.message);
      }
    }

    async load() {
      try {
        const [settings, count] = await this.decisions.read(await this.file.files[0].text());
        if (settings) this.panel.set(settings);
        if (this.masks) this.showMarks();
        this.say(`${amg.count(count, "mask")} marked wrong.`);
      } catch (error) {
        this.say(`Nothing is changed: ${error.message}.`);
      }
      this.file.value = "";
    }

    /** A key that is pressed. Whether it is one of the page's. */
    press(key) {
      if (!this.masks) return false;
      const actions = {
        ArrowUp: () => this.step(-1),
        ArrowDown: () => this.step(1),
        x: () => this.markSelected(),
        Delete: () => this.markSelected(),
        k: () => this.keepSelected(),
        "+": () => this.view.zoom(1.25),
        "=": () => this.view.zoom(1.25),
        "-": () => this.view.zoom(0.8),
        0: () => this.view.fit(),
        o: () => this.outlines.click(),
        m: () => {
          this.hidden = !this.hidden;
          this.update();
        },
      };
      if (key === "Escape" && this.view.selected.size) {
        this.select(null, false);
        return true;
      }
      actions[key]?.();
      return key in actions;
    }
  };

  /** An image's photograph, as an element that can be drawn; null where there is none. */
  amg.photo = (image) =>
    new Promise((resolve) => {
      if (!image.thumbnail) return resolve(null);
      const photo = new Image();
      photo.onload = () => resolve(photo);
      photo.onerror = () => resolve(null);
      photo.src = `photos/${image.key}.jpg`;
      return undefined;
    });
}
