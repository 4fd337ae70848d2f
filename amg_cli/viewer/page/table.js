"use strict";
/* The masks that are shown, a row each, in an order that the reader chooses. */
{
  const COLUMNS = [
    { name: "number", label: "Mask", of: (row) => row.number },
    { name: "area", label: "Area", of: (row) => row.area, text: (value) => amg.number(value) },
    { name: "pred_iou", label: "Pred. IoU", of: (row) => row.pred_iou, text: (value) => amg.digits(value) },
    { name: "stability_score", label: "Stability", of: (row) => row.stability_score, text: (value) => amg.digits(value) },
    { name: "category", label: "Category", of: (row) => row.category },
    { name: "parent", label: "Parent", of: (row) => row.parent },
  ];

  amg.Table = class {
    /** events: `hover(index or null)`, `pick(index, event)` */
    constructor(events) {
      this.events = events;
      this.order = { name: "number", sign: 1 };
      this.rows = [];
      this.selected = new Set();
      this.marked = new Set();
      this.heads = new Map();
      this.columns = COLUMNS.filter(
        ({ name }) => ["number", "area"].includes(name) || amg.index.columns.includes(name),
      );
      this.body = amg.element("tbody");
      this.element = amg.element(
        "table",
        { className: "masks", aria: { role: "grid" } },
        amg.element("caption", { className: "unseen", textContent: "Masks that are shown" }),
        amg.element("thead", {}, amg.element("tr", {}, ...this.columns.map((column) => this.head(column)))),
        this.body,
      );
    }

    head({ name, label }) {
      const button = amg.element("button", { type: "button", textContent: label });
      button.onclick = () => {
        const sign = this.order.name === name ? -this.order.sign : name === "number" ? 1 : -1;
        this.order = { name, sign };
        this.write();
      };
      const head = amg.element("th", { scope: "col" }, button);
      this.heads.set(name, head);
      return head;
    }

    /** rows: of each mask its `index`, `number` and what the columns show. */
    show(rows) {
      this.rows = rows;
      this.write();
    }

    /** The indices in the order of the rows. */
    get indices() {
      return this.sorted().map((row) => row.index);
    }

    sorted() {
      const { name, sign } = this.order;
      const column = this.columns.find((each) => each.name === name);
      const compare = (a, b) => {
        const [left, right] = [column.of(a), column.of(b)];
        if (left === right) return a.number - b.number;
        if (left === null || right === null) return left === null ? 1 : -1;
        return sign * (left < right ? -1 : 1);
      };
      return [...this.rows].sort(compare);
    }

    write() {
      for (const [name, head] of this.heads) {
        const order = this.order.sign > 0 ? "ascending" : "descending";
        head.setAttribute("aria-sort", this.order.name === name ? order : "none");
      }
      this.body.replaceChildren(...this.sorted().map((row) => this.row(row)));
      this.highlight();
    }

    row(values) {
      const cells = this.columns.map((column) => {
        const value = column.of(values);
        const text = value === null ? "" : (column.text ?? String)(value);
        return amg.element("td", { textContent: text });
      });
      const swatch = amg.element("span", { className: "swatch", aria: { hidden: "true" } });
      swatch.style.background = `rgb(${amg.colour(values.colour).join(" ")})`;
      cells[0].prepend(swatch);
      const row = amg.element("tr", { tabIndex: -1, data: { index: values.index } }, ...cells);
      row.onpointerenter = () => this.events.hover(values.index);
      row.onpointerleave = () => this.events.hover(null);
      row.onclick = (event) => this.events.pick(values.index, event);
      return row;
    }

    /** Show which masks are selected and marked. */
    highlight(selected = this.selected, marked = this.marked) {
      Object.assign(this, { selected, marked });
      for (const row of this.body.rows) {
        const index = Number(row.dataset.index);
        row.setAttribute("aria-selected", String(selected.has(index)));
        row.classList.toggle("wrong", marked.has(index));
      }
    }

    /** Bring a mask's row into view, where the table scrolls by itself, and the photograph stays. */
    reveal(index) {
      const side = this.element.closest("aside");
      if (!side || side.scrollHeight <= side.clientHeight) return;
      this.body.querySelector(`tr[data-index="${index}"]`)?.scrollIntoView({ block: "nearest" });
    }
  };
}
