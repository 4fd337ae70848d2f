"use strict";
/* What all parts of the page share: elements, images' data, and what the browser remembers.

The page is opened from the disk, where a browser loads neither modules nor JSON: so each part is a
script that adds to `amg`, and an image's data is a script that calls `amg.receive`. */
const amg = {};

/** An element with properties and children. Text is text: nothing of a file is ever read as HTML. */
amg.element = (tag, properties = {}, ...children) => {
  const { data = {}, aria = {}, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, data);
  for (const [name, value] of Object.entries(aria)) {
    if (value !== null) element.setAttribute(name === "role" ? name : `aria-${name}`, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
};

/** An image of the index, by its key. */
amg.image = (key) => {
  amg.imagesByKey ??= new Map(amg.index.images.map((image) => [image.key, image]));
  return amg.imagesByKey.get(key);
};

amg.number = (value) => value.toLocaleString("en");
amg.digits = (value, digits = 3) => (value === null || value === undefined ? "" : value.toFixed(digits));

/** An image's data that cannot be had. */
amg.LoadError = class extends Error {};

/* Images' data. */
{
  const KEPT = 12; // images whose data stay in memory
  const wanted = new Map(); // key -> promise
  const arriving = new Map(); // key -> what takes its data

  /** What an image's script calls. */
  amg.receive = (key, record) => arriving.get(key)?.(record);

  /** An image's data. Rejects with a LoadError where its file is missing or damaged. */
  amg.load = (key) => {
    if (!wanted.has(key)) wanted.set(key, request(key));
    const found = wanted.get(key);
    wanted.delete(key); // so that the map's first is what was not wanted for longest
    wanted.set(key, found);
    if (wanted.size > KEPT) wanted.delete(wanted.keys().next().value);
    return found;
  };

  /** Masks' counts as they are written: a line each, deflated, in base64. They become an array. */
  const inflate = async (columns) => {
    if (!columns) return;
    const bytes = Uint8Array.from(atob(columns.rle), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const text = await new Response(stream).text();
    columns.rle = columns.area.length ? text.split("\n") : [];
  };

  const request = (key) =>
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      const end = (settle, value) => {
        arriving.delete(key);
        script.remove();
        settle(value);
      };
      const missing = () => {
        wanted.delete(key);
        end(reject, new amg.LoadError(`data/${key}.js is missing or damaged; make the view again`));
      };
      arriving.set(key, (record) => {
        Promise.all([inflate(record.masks), inflate(record.against)]).then(
          () => end(resolve, record),
          missing,
        );
        script.onload = null;
      });
      script.onerror = missing;
      script.onload = () => arriving.has(key) && missing();
      script.src = `data/${key}.js`;
      document.head.append(script);
    });
}

/* What the browser remembers, so that a review outlives its window: each value by itself, so that
   two windows do not undo each other's. */
amg.memory = {
  read(key) {
    try {
      return JSON.parse(localStorage.getItem(`amg:${key}`));
    } catch {
      return null; // storage is switched off, or holds what is none of ours
    }
  },
  /** Whether it could be kept. */
  write(key, value) {
    try {
      if (value === null) localStorage.removeItem(`amg:${key}`);
      else localStorage.setItem(`amg:${key}`, JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  },
};
