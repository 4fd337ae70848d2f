"use strict";
/* Which masks are wrong: kept by the browser, and given as a file to `amg select --decisions`. */
amg.Decisions = class {
  constructor() {
    const kept = amg.memory.read().wrong ?? {};
    this.wrong = new Map(Object.entries(kept).map(([key, indices]) => [Number(key), new Set(indices)]));
  }

  /** The masks of an image that are wrong: indices. */
  of(key) {
    return this.wrong.get(key) ?? new Set();
  }

  get count() {
    return [...this.wrong.values()].reduce((sum, indices) => sum + indices.size, 0);
  }

  /** Mark masks as wrong or not. Whether the browser could keep it. */
  mark(key, indices, isWrong) {
    const wrong = new Set(this.of(key));
    for (const index of indices) {
      if (isWrong) wrong.add(index);
      else wrong.delete(index);
    }
    if (wrong.size) this.wrong.set(key, wrong);
    else this.wrong.delete(key);
    return this.keep();
  }

  keep() {
    const values = Object.fromEntries([...this.wrong].map(([key, indices]) => [key, [...indices]]));
    return amg.memory.write({ wrong: values });
  }

  /** What the file says. said: called with the number of images that are done, and of all */
  async values(settings, said = () => {}) {
    const ofMasks = amg.index.kind === "masks";
    const start = amg.startSettings();
    const cuts = Object.keys(start).some((name) => String(start[name]) !== String(settings[name]));
    const done = amg.index.images.filter((image) => image.error === null);
    // Of masks alone the file has all that the sliders cut, as there is nothing to select from again.
    const concerned = done.filter((image) => (ofMasks && cuts) || this.of(image.key).size);
    const names = new Set();
    const images = [];
    for (const [place, image] of concerned.entries()) {
      said(place, concerned.length);
      if (names.has(image.file_name)) {
        throw new Error(`${image.file_name} is the name of several images: review a run of each folder`);
      }
      names.add(image.file_name);
      const record = await amg.load(image.key);
      const masks = new amg.Masks(record.masks, record.hw);
      const kept = amg.select(masks, settings);
      const drop = ofMasks ? this.dropped(image.key, masks, kept) : this.places(image.key, kept);
      const count = ofMasks ? masks.count : kept.length;
      if (drop.length) images.push({ file_name: image.file_name, masks: count, drop });
    }
    return { amg_decisions: 1, settings: ofMasks ? null : settings, images };
  }

  /** Of masks alone: the numbers of those that are wrong, or cut. */
  dropped(key, masks, kept) {
    const [stays, wrong] = [new Set(kept), this.of(key)];
    const gone = masks.indices.filter((i) => !stays.has(i) || wrong.has(i));
    return gone.map((i) => masks.value("id", i) ?? i);
  }

  /** Of candidates: the places of those that are wrong among what is selected. */
  places(key, kept) {
    const wrong = this.of(key);
    return [...kept.keys()].filter((place) => wrong.has(kept[place]));
  }

  /** Take the marks of a file in place of those there are. -> its settings, or null.
   * Throws an Error that says what is wrong with it. */
  async read(text) {
    let values;
    try {
      values = JSON.parse(text);
    } catch {
      throw new Error("this file is no JSON");
    }
    if (!values || values.amg_decisions !== 1 || !Array.isArray(values.images)) {
      throw new Error("this file has no decisions of amg");
    }
    const ofMasks = amg.index.kind === "masks";
    if (ofMasks !== (values.settings === null)) {
      throw new Error(`these decisions are of ${ofMasks ? "candidates" : "masks"}, and the page shows others`);
    }
    const settings = ofMasks ? null : { ...amg.startSettings(), ...values.settings };
    const keys = new Map(amg.index.images.map((image) => [image.file_name, image.key]));
    const wrong = new Map();
    for (const { file_name: name, drop } of values.images) {
      if (!keys.has(name)) throw new Error(`${name} is none of these images`);
      const record = await amg.load(keys.get(name));
      const masks = new amg.Masks(record.masks, record.hw);
      const numbered = ofMasks ? masks.indices : amg.select(masks, settings);
      const index = new Map(numbered.map((i, place) => [ofMasks ? (masks.value("id", i) ?? i) : place, i]));
      if (!drop.every((number) => index.has(number))) throw new Error(`${name} has no such mask`);
      wrong.set(keys.get(name), new Set(drop.map((number) => index.get(number))));
    }
    this.wrong = wrong;
    this.keep();
    return settings;
  }
};
