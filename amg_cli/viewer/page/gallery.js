"use strict";
/* All images: a picture each, by pages, with what they are searched by. */
{
  const PAGE = 60;
  const SHOWN = {
    all: ["All", () => true],
    none: ["No masks", (image) => image.error === null && image.masks === 0],
    many: ["Many masks", (image) => image.masks >= amg.index.many],
    failed: ["Failed", (image) => image.error !== null],
    wrong: ["With masks marked wrong", (image, decisions) => decisions.of(image.key).size > 0],
  };
  const COMPARED = {
    differ: ["Runs differ", (image) => image.only_left + image.only_right > 0],
  };
  const ORDERS = {
    order: ["Order of the run", (image) => image.key],
    name: ["Name", (image) => image.file_name],
    masks: ["Most masks first", (image) => -(image.masks ?? -1)],
  };

  amg.Gallery = class {
    constructor(decisions) {
      this.decisions = decisions;
      this.filters = amg.index.against === null ? SHOWN : { ...SHOWN, ...COMPARED };
      this.values = { shown: "all", order: "order", search: "", page: 0 };
      this.search = amg.element("input", { type: "search", placeholder: "Name", aria: { label: "Search by name" } });
      this.search.addEventListener("input", () => this.set({ search: this.search.value, page: 0 }));
      this.shown = this.choice("shown", "Show", this.filters);
      this.order = this.choice("order", "Order", ORDERS);
      this.count = amg.element("p", { className: "count", aria: { role: "status" } });
      this.cards = amg.element("ul", { className: "cards" });
      this.pages = amg.element("nav", { className: "pages", aria: { label: "Pages" } });
      this.element = amg.element(
        "section",
        { className: "gallery", aria: { label: "Images" } },
        amg.element("div", { className: "bar" }, this.search, this.shown, this.order, this.count),
        this.cards,
        this.pages,
      );
    }

    choice(name, label, options) {
      const select = amg.element("select", {});
      for (const [value, [text]] of Object.entries(options)) select.append(amg.element("option", { value }, text));
      select.addEventListener("change", () => this.set({ [name]: select.value, page: 0 }));
      return amg.element("label", { className: "choice" }, `${label} `, select);
    }

    set(values) {
      Object.assign(this.values, values);
      this.write();
    }

    /** The images that are looked for, in order. */
    get images() {
      const { shown, order, search } = this.values;
      const wanted = search.toLowerCase();
      const key = ORDERS[order][1];
      return amg.index.images
        .filter((image) => this.filters[shown][1](image, this.decisions))
        .filter((image) => image.file_name.toLowerCase().includes(wanted))
        .sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : a.key - b.key));
    }

    write() {
      const images = this.images;
      const nbPages = Math.max(1, Math.ceil(images.length / PAGE));
      const page = Math.min(this.values.page, nbPages - 1);
      this.count.textContent = `${amg.number(images.length)} of ${amg.number(amg.index.images.length)} images`;
      this.cards.replaceChildren(...images.slice(page * PAGE, (page + 1) * PAGE).map((image) => this.card(image)));
      const step = (text, to) => {
        const button = amg.element("button", { type: "button", textContent: text, disabled: to < 0 || to >= nbPages });
        button.onclick = () => {
          this.set({ page: to });
          window.scrollTo(0, 0);
          const again = [...this.pages.querySelectorAll("button")].find((each) => each.textContent === text);
          (again.disabled ? this.search : again).focus();
        };
        return button;
      };
      const where = amg.element("span", { textContent: `Page ${page + 1} of ${nbPages}` });
      this.pages.replaceChildren(step("‹ Previous", page - 1), where, step("Next ›", page + 1));
      this.pages.hidden = nbPages === 1;
    }

    card(image) {
      const { key, file_name: name, error, thumbnail } = image;
      const picture = thumbnail
        ? amg.element("img", { src: `thumbnails/${key}.jpg`, alt: "", loading: "lazy" })
        : amg.element("span", { className: "nothing", textContent: error === null ? "no photograph" : "failed" });
      const wrong = this.decisions.of(key).size;
      const facts = [error === null ? amg.count(image.masks, "mask") : error];
      if (wrong) facts.push(`${wrong} wrong`);
      if (image.only_left !== undefined) facts.push(`${image.only_left} only left, ${image.only_right} only right`);
      const text = [
        amg.element("span", { className: "frame" }, picture),
        amg.element("span", { className: "name", textContent: name, title: name }),
        amg.element("span", { className: "facts", textContent: facts.join(" · ") }),
      ];
      const card = error === null ? amg.element("a", { href: `#${key}` }, ...text) : amg.element("div", {}, ...text);
      card.classList.toggle("failed", error !== null);
      return amg.element("li", {}, card);
    }
  };

  amg.count = (count, thing) => `${amg.number(count)} ${thing}${count === 1 ? "" : "s"}`;
}
