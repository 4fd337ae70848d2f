"use strict";
/* A photograph with masks over it, drawn from their runs, at whatever part and scale is looked at.

Each pixel gets the smallest mask over it, as the overlay format paints the largest first. What is
drawn into has as many pixels as the screen shows, so that a stroke is as wide at every scale, and
its rows are the image's columns, as runs go down those. */
amg.MaskCanvas = class {
  static LEAST_SCALE = 0.02;
  static MOST_SCALE = 64;
  static HIGHLIGHT = 0.3; // what is added to the opacity of the mask under the pointer

  /** events: `hover(index or null, event)`, `pick(indices at the point, event)`, `moved(canvas)` */
  constructor(canvas, events) {
    Object.assign(this, { canvas, events, scale: 1, left: 0, top: 0, opacity: 0.45, outlines: true });
    this.buffer = document.createElement("canvas");
    this.masks = null;
    this.shown = [];
    this.selected = new Set();
    this.marked = new Set();
    this.hovered = null;
    this.numberOf = (i) => i;
    this.waiting = false;
    amg.follow(this);
  }

  /** Another image. photo: an image element, or null. */
  open(masks, photo) {
    Object.assign(this, { masks, photo, shown: [], hovered: null });
    this.selected = new Set();
    this.fit();
  }

  /** Nothing, until another image is there. */
  close() {
    Object.assign(this, { masks: null, photo: null, shown: [], hovered: null, selected: new Set() });
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** The masks to show, by their indices. */
  show(indices) {
    const { area } = this.masks.columns;
    this.shown = [...indices].sort((i, j) => area[i] - area[j]); // the smallest first
    if (this.hovered !== null && !indices.includes(this.hovered)) this.hovered = null;
    this.render();
  }

  /** The whole image, in the middle. */
  fit() {
    const [height, width] = this.masks.hw;
    const { clientWidth, clientHeight } = this.canvas;
    this.scale = Math.min(clientWidth / width, clientHeight / height) || 1;
    this.left = (clientWidth - width * this.scale) / 2;
    this.top = (clientHeight - height * this.scale) / 2;
    this.moved();
  }

  /** Larger or smaller by a factor, with a point of the canvas where it is. */
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const { LEAST_SCALE, MOST_SCALE } = amg.MaskCanvas;
    const scale = Math.min(Math.max(this.scale * factor, LEAST_SCALE), MOST_SCALE);
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.moved();
  }

  pan(x, y) {
    this.left += x;
    this.top += y;
    this.moved();
  }

  moved() {
    this.later();
    this.events.moved?.(this);
  }

  /** The pixel of the image at a point of the canvas. */
  pixel(x, y) {
    return [Math.floor((x - this.left) / this.scale), Math.floor((y - this.top) / this.scale)];
  }

  /** The masks at a point of the canvas, the smallest first. */
  masksAt(x, y) {
    const [px, py] = this.pixel(x, y);
    const [height, width] = this.masks.hw;
    const isInside = px >= 0 && py >= 0 && px < width && py < height;
    return isInside ? this.masks.at(px, py, this.shown) : [];
  }

  hover(index) {
    if (index === this.hovered) return;
    this.hovered = index;
    this.later();
  }

  /** Draw when the browser next does, however often it is asked for until then. */
  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (this.masks) this.render();
    });
  }

  render() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      Object.assign(this.canvas, { width: wide, height: high });
    }
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, wide, high);
    const scale = this.scale * ratio;
    context.setTransform(scale, 0, 0, scale, this.left * ratio, this.top * ratio);
    this.drawPhoto(context, scale);
    const part = this.part(width, height, scale);
    if (part) this.drawMasks(context, part);
    this.drawPoint(context);
  }

  drawPhoto(context, scale) {
    const [height, width] = this.masks.hw;
    context.imageSmoothingEnabled = scale < 3;
    if (this.photo) context.drawImage(this.photo, 0, 0, width, height);
    else {
      context.fillStyle = "#555";
      context.fillRect(0, 0, width, height);
    }
  }

  /** What of the image is to be seen, and in which pixels: `every`-th ones, each `times` as large. */
  part(width, height, scale) {
    const [rows, columns] = this.masks.hw;
    const [x, y] = this.pixel(0, 0);
    const [right, bottom] = this.pixel(width, height);
    const every = Math.max(1, Math.floor(1 / scale));
    const times = Math.min(Math.max(1, Math.floor(scale)), 16);
    const down = (value) => Math.max(0, value - (value % every));
    const part = { x0: down(x), y0: down(y), every, times };
    part.x1 = Math.min(columns, right + every);
    part.y1 = Math.min(rows, bottom + every);
    if (part.x1 <= part.x0 || part.y1 <= part.y0) return null;
    part.width = Math.ceil((part.x1 - part.x0) / every) * times;
    part.height = Math.ceil((part.y1 - part.y0) / every) * times;
    return part;
  }

  drawMasks(context, part) {
    const owners = this.owners(part);
    const pixels = new ImageData(part.height, part.width); // on its side
    this.paint(owners, new Uint32Array(pixels.data.buffer), part);
    Object.assign(this.buffer, { width: part.height, height: part.width });
    this.buffer.getContext("2d").putImageData(pixels, 0, 0);
    context.save();
    context.imageSmoothingEnabled = false;
    const size = part.every / part.times;
    context.transform(0, size, size, 0, part.x0, part.y0); // back on its feet
    context.drawImage(this.buffer, 0, 0);
    context.restore();
  }

  /** The place in `shown` of the mask that each pixel is of, from 1; 0 where there is none. */
  owners(part) {
    const owners = new Uint16Array(part.width * part.height);
    for (let place = this.shown.length - 1; place >= 0; place--) this.fill(owners, place, part);
    for (let place = this.shown.length - 1; place >= 0; place--) {
      if (this.selected.has(this.shown[place])) this.fill(owners, place, part);
    }
    return owners;
  }

  fill(owners, place, part) {
    const runs = this.masks.runs(this.shown[place]);
    const rows = this.masks.hw[0];
    const { x0, x1, y0, y1, every, times, height } = part;
    let column = 0;
    let next = rows; // where the next column begins
    for (let i = 0; i < runs.length; i += 2) {
      let start = runs[i];
      const end = runs[i + 1];
      while (start < end) {
        if (start >= next) {
          column = Math.floor(start / rows);
          next = (column + 1) * rows;
        }
        if (column >= x1) return;
        if (column >= x0 && (every === 1 || (column - x0) % every === 0)) {
          const top = column * rows + y0;
          const bottom = column * rows + y1;
          const from = start > top ? start - top : 0;
          const to = (end < bottom ? end : bottom) - top;
          if (every === 1 && times === 1) {
            const base = (column - x0) * height;
            amg.fillRun(owners, place + 1, base + from, base + to);
          } else {
            const base = ((column - x0) / every) * times * height;
            const first = base + Math.ceil(from / every) * times;
            const last = base + Math.ceil(to / every) * times;
            for (let copy = 0; copy < times; copy++) {
              amg.fillRun(owners, place + 1, first + copy * height, last + copy * height);
            }
          }
        }
        start = next;
      }
    }
  }

  /** Colours for owners; a mask's edge is where its neighbour is another's, or none's. */
  paint(owners, pixels, part) {
    const { fills, strokes } = this.palette();
    const { height } = part;
    const count = owners.length;
    for (let at = 0; at < count; at++) {
      const owner = owners[at];
      if (owner === 0) continue;
      const isEdge =
        (at >= 1 && owners[at - 1] !== owner) ||
        (at + 1 < count && owners[at + 1] !== owner) ||
        (at >= height && owners[at - height] !== owner) ||
        (at + height < count && owners[at + height] !== owner);
      pixels[at] = isEdge ? strokes[owner] : fills[owner];
    }
  }

  /** For each owner the pixel inside and at its edge, as a little-endian machine has them. */
  palette() {
    const fills = new Uint32Array(this.shown.length + 1);
    const strokes = new Uint32Array(this.shown.length + 1);
    const packed = ([red, green, blue], opacity) =>
      ((Math.round(255 * Math.min(opacity, 1)) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    this.shown.forEach((index, place) => {
      const isUp = index === this.hovered || this.selected.has(index);
      const colour = this.marked.has(index) ? [90, 90, 90] : amg.colour(this.numberOf(index));
      const opacity = this.opacity + (isUp ? amg.MaskCanvas.HIGHLIGHT : 0);
      fills[place + 1] = packed(colour, opacity);
      if (this.selected.has(index)) strokes[place + 1] = packed([255, 255, 255], 1);
      else strokes[place + 1] = this.outlines ? packed(colour, 1) : fills[place + 1];
    });
    return { fills, strokes };
  }

  /** The prompt's point of the mask under the pointer. */
  drawPoint(context) {
    const point = this.hovered === null ? null : this.masks.value("point", this.hovered);
    if (!point) return;
    context.beginPath();
    context.arc(point[0] + 0.5, point[1] + 0.5, 4 / this.scale, 0, 2 * Math.PI);
    context.lineWidth = 1.5 / this.scale;
    context.fillStyle = "#fff";
    context.strokeStyle = "#000";
    context.fill();
    context.stroke();
  }
};

/** A part of an array set to a value. The browser's own `fill` costs more than it saves where it is
 * short. */
amg.fillRun = (array, value, first, last) => {
  if (last - first > 40) array.fill(value, first, last);
  else for (let at = first; at < last; at++) array[at] = value;
};

/** Pointer, wheel and size of a canvas. */
amg.follow = (view) => {
  const { canvas } = view;
  let from = null;
  let isDrag = false;
  canvas.addEventListener("pointerdown", (event) => {
    from = [event.offsetX, event.offsetY];
    isDrag = false;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!view.masks) return;
    const [x, y] = [event.offsetX, event.offsetY];
    if (from) {
      if (!isDrag && Math.hypot(x - from[0], y - from[1]) < 4) return;
      isDrag = true;
      view.pan(x - from[0], y - from[1]);
      from = [x, y];
    } else {
      view.hover(view.masksAt(x, y)[0] ?? null);
      view.events.hover?.(view.hovered, event);
    }
  });
  canvas.addEventListener("pointerup", (event) => {
    if (from && !isDrag && view.masks) view.events.pick?.(view.masksAt(event.offsetX, event.offsetY), event);
    from = null;
  });
  canvas.addEventListener("pointercancel", () => (from = null));
  canvas.addEventListener("pointerleave", (event) => {
    view.hover(null);
    view.events.hover?.(null, event);
  });
  canvas.addEventListener("dblclick", () => view.masks && view.fit());
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!view.masks) return;
      event.preventDefault();
      view.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), event.offsetX, event.offsetY);
    },
    { passive: false },
  );
  new ResizeObserver(() => view.masks && view.fit()).observe(canvas);
};
