"use strict";
/* Which masks are wrong: kept by the browser, and given as a file to `amg select --decisions`. */
amg.Decisions = class {
  constructor() {
    this.wrong = new Map(); // key -> the indices of an image's masks that are wrong
  }

  /** The masks of an image that are wrong: indices. */
  of(key) {
    let wrong = this.wrong.get(key);
    if (!wrong) {
      wrong = new Set(amg.memory.read(this.place(key)) ?? []);
      this.wrong.set(key, wrong);
    }
    return wrong;
  }

  /** Where they are kept: by what the masks are, so that they are not taken for others' later. */
  place(key) {
    return `wrong:${amg.image(key).hash}`;
  }

  /** Another window has changed something. */
  forget() {
    this.wrong.clear();
  }

  /** Mark masks as wrong or not. Whether the browser could keep it. */
  mark(key, indices, isWrong) {
    const wrong = new Set(this.of(key));
    for (const index of indices) {
      if (isWrong) wrong.add(index);
      else wrong.delete(index);
    }
    return this.keep(key, wrong);
  }

  keep(key, wrong) {
    this.wrong.set(key, wrong);
    return amg.memory.write(this.place(key), wrong.size ? [...wrong] : null);
  }

  /** The images that were done. */
  get images() {
    return amg.index.images.filter((image) => image.error === null);
  }

  /** What the file says. said: called with the number of images that are done, and of all
   * Throws an Error where a file could not say it. */
  async values(settings, said = () => {}) {
    const ofMasks = amg.index.kind === "masks";
    const now = { ...settings }; // a slider may move while images are loaded
    const start = amg.startSettings();
    const cuts = Object.keys(start).some((name) => String(start[name]) !== String(now[name]));
    // Of masks alone the file has all that the sliders cut, as there is nothing to select from again.
    const concerned = this.images
      .filter((image) => (ofMasks && cuts) || this.of(image.key).size)
      .map((image) => [image, new Set(this.of(image.key))]);
    const names = this.keysByName();
    const images = [];
    for (const [place, [image, wrong]] of concerned.entries()) {
      said(place, concerned.length);
      amg.oneOf(names, image.file_name);
      const masks = amg.masksOf(await amg.load(image.key));
      const kept = amg.select(masks, now);
      const drop = ofMasks ? this.dropped(masks, kept, wrong) : this.places(kept, wrong);
      const count = ofMasks ? masks.count : kept.length;
      if (drop.length) images.push({ file_name: image.file_name, masks: count, drop });
    }
    return { amg_decisions: 1, settings: ofMasks ? null : now, images };
  }

  /** Of masks alone: the numbers of those that are wrong, or cut. */
  dropped(masks, kept, wrong) {
    const stays = new Set(kept);
    const gone = masks.indices.filter((i) => !stays.has(i) || wrong.has(i));
    return gone.map((i) => masks.number(i));
  }

  /** Of candidates: the places of those that are wrong among what is selected. */
  places(kept, wrong) {
    return [...kept.keys()].filter((place) => wrong.has(kept[place]));
  }

  keysByName() {
    const keys = new Map();
    for (const { file_name: name, key } of amg.index.images) {
      if (!keys.has(name)) keys.set(name, []);
      keys.get(name).push(key);
    }
    return keys;
  }

  /** Take the marks of a file in place of those there are.
   * -> its settings, or null; how many masks it marks. Throws an Error that says what is wrong. */
  async read(text) {
    const values = amg.decisionsIn(text);
    const ofMasks = amg.index.kind === "masks";
    if (ofMasks !== (values.settings === null)) {
      throw new Error(`these decisions are of ${ofMasks ? "candidates" : "masks"}, and the page shows others`);
    }
    const settings = ofMasks ? null : { ...amg.startSettings(), ...values.settings };
    const names = this.keysByName();
    const found = new Map();
    for (const image of values.images) {
      const key = amg.oneOf(names, image.file_name);
      const masks = amg.masksOf(await amg.load(key));
      found.set(key, this.marked(image, masks, ofMasks ? null : settings));
    }
    for (const { key } of this.images) this.keep(key, found.get(key) ?? new Set());
    return [settings, [...found.values()].reduce((sum, wrong) => sum + wrong.size, 0)];
  }

  /** The indices of the masks that a file drops of an image. settings: null for masks alone */
  marked({ file_name: name, masks: count, drop }, masks, settings) {
    const numbered = settings === null ? masks.indices : amg.select(masks, settings);
    const numberOf = (i, place) => (settings === null ? masks.number(i) : place);
    const indices = new Map(numbered.map((i, place) => [numberOf(i, place), i]));
    const fits = count === undefined || count === numbered.length;
    if (!fits || !drop.every((number) => indices.has(number))) {
      throw new Error(`${name} has other masks here`);
    }
    return new Set(drop.map((number) => indices.get(number)));
  }
};

/** What a file of decisions says. Throws an Error where it is none. */
amg.decisionsIn = (text) => {
  let values;
  try {
    values = JSON.parse(text);
  } catch {
    throw new Error("this file is no JSON");
  }
  if (values?.amg_decisions !== 1 || !Array.isArray(values.images)) {
    throw new Error("this file has no decisions of amg");
  }
  return { ...values, settings: values.settings ?? null };
};

/** The key of the one image of a name. Throws an Error where there is none, or several. */
amg.oneOf = (keys, name) => {
  const found = keys.get(name) ?? [];
  if (!found.length) throw new Error(`${name} is none of these images`);
  if (found.length > 1) {
    throw new Error(`${name} is the name of several images: review a run of each folder`);
  }
  return found[0];
};

amg.masksOf = (record) => new amg.Masks(record.masks, record.hw);
