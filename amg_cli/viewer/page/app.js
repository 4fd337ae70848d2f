"use strict";
/* The page: all images, or the one that the address names after its #. */
{
  const decisions = new amg.Decisions();
  const status = document.querySelector("#status");
  const main = document.querySelector("main");
  const bar = document.querySelector("#place");
  const say = (text) => {
    status.textContent = text;
  };

  const gallery = new amg.Gallery(decisions);
  let page = null; // of an image; made when the first is opened
  let place = null; // of the image that is shown among those that are looked for
  let images = [];

  const back = amg.element("a", { href: "#", className: "back", textContent: "‹ All images" });
  const name = amg.element("h1", { tabIndex: -1 });
  const step = (text, by) => amg.element("button", { type: "button", textContent: text, onclick: () => go(by) });
  const steps = [step("‹ Before", -1), step("After ›", 1)];

  const go = (by) => {
    const next = images[place + by];
    if (next) location.hash = String(next.key);
  };

  const showGallery = () => {
    place = null;
    name.textContent = amg.index.title;
    document.title = `${amg.index.title} · amg`;
    const facts = amg.element("span", { className: "facts", textContent: amg.index.facts });
    bar.replaceChildren(name, facts);
    gallery.write();
    main.replaceChildren(gallery.element);
    if (document.activeElement === document.body) name.focus();
    say("");
  };

  const showImage = async (key) => {
    const looked = gallery.images.filter((image) => image.error === null);
    const isOne = (image) => image.key === key;
    images = looked.some(isOne) ? looked : amg.index.images.filter((image) => image.error === null);
    place = images.findIndex(isOne);
    if (place < 0) return showGallery();
    page ??= amg.index.against === null ? new amg.ImagePage(decisions, say) : new amg.ComparePage(say);
    name.textContent = images[place].file_name;
    document.title = `${images[place].file_name} · amg`;
    steps[0].disabled = place === 0;
    steps[1].disabled = place === images.length - 1;
    const where = amg.element("span", { className: "facts", textContent: `${place + 1} of ${images.length}` });
    const focused = document.activeElement;
    bar.replaceChildren(back, name, where, ...steps);
    if (main.firstChild !== page.element) main.replaceChildren(page.element);
    if (steps.includes(focused) && !focused.disabled) focused.focus();
    else if (document.activeElement === document.body) name.focus();
    say("");
    try {
      await page.open(key);
    } catch (error) {
      if (!(error instanceof amg.LoadError)) throw error;
      if (page.wanted === key) say(error.message);
    }
    return undefined;
  };

  const show = () => {
    const key = Number(decodeURIComponent(location.hash.slice(1)));
    return key ? showImage(key) : showGallery();
  };

  addEventListener("hashchange", show);
  addEventListener("storage", () => {
    decisions.forget(); // another window has marked masks
    if (place === null) gallery.write();
    else if (page.masks && page.showMarks) page.showMarks();
  });
  addEventListener("keydown", (event) => {
    const isTyped = event.target.closest("input, select, textarea, summary");
    const isSlid = isTyped && ["range", "checkbox", "radio"].includes(event.target.type);
    const moves = event.key.startsWith("Arrow");
    if (event.ctrlKey || event.metaKey || event.altKey || place === null) return;
    if (isTyped && (!isSlid || moves)) return;
    if (event.key === "ArrowLeft") go(-1);
    else if (event.key === "ArrowRight") go(1);
    else if (!page?.press(event.key)) {
      if (event.key === "Escape") location.hash = "";
      return;
    }
    event.preventDefault();
  });

  amg.page = () => page; // for whoever looks from outside
  show();
}
