// Before and after in one canvas: blend and exposure by the library's formula, zoom and pan of both at once.

const MOST_ZOOM = 16;
const MOST_PIXELS = 2.2e6;

// To the nearest whole number, halves to even, as the library rounds.
function rint(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 ? floor + 1 : floor;
}

// y = g x / (1 + (g - 1) x), g = 2^EV, of values from 0 to white.
export function expose(value, exposure, white = 255) {
  const gain = 2 ** exposure;
  return (white * gain * value) / (white + (gain - 1) * value);
}

// What becomes of each pair (before << 8 | after) of 8-bit values.
export function table(strength, exposure) {
  const made = new Uint8Array(65536);
  for (let before = 0; before < 256; before += 1) {
    for (let after = 0; after < 256; after += 1) {
      const mixed = (1 - strength) * before + strength * after;
      made[(before << 8) | after] = rint(exposure ? expose(mixed, exposure) : mixed);
    }
  }
  return made;
}

// RGBA of both to RGBA of the result, from column `from` on; what is left of it is `before`.
export function mix(before, after, tones, out, width, from) {
  const rows = before.length / 4 / width;
  for (let row = 0; row < rows; row += 1) {
    const start = row * width * 4;
    const border = start + from * 4;
    const end = start + width * 4;
    out.set(before.subarray(start, border), start);
    for (let at = border; at < end; at += 4) {
      out[at] = tones[(before[at] << 8) | after[at]];
      out[at + 1] = tones[(before[at + 1] << 8) | after[at + 1]];
      out[at + 2] = tones[(before[at + 2] << 8) | after[at + 2]];
      out[at + 3] = after[at + 3];
    }
  }
}

export class View {
  #canvas;
  #context;
  #sides;
  #before = null;
  #after = null;
  #zoom = 1;
  #x = 0.5;
  #y = 0.5;
  #split = 0.5;
  #strength = 1;
  #exposure = 0;
  #tones = table(1, 0);
  #told = "1 0";
  #pixels = null;
  #due = 0;
  #onSplit;
  #onZoom;

  constructor(canvas, onSplit, onZoom) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.#sides = [0, 1].map(() => document.createElement("canvas").getContext("2d", { willReadFrequently: true, alpha: false }));
    this.#onSplit = onSplit;
    this.#onZoom = onZoom;
    new ResizeObserver(() => this.#moved()).observe(canvas);
  }

  // Bitmaps of both, or of the one that is there; the view stays where `same` says so.
  show(before, after, same = false) {
    this.#before = before;
    this.#after = after;
    if (!same) [this.#zoom, this.#x, this.#y] = [1, 0.5, 0.5];
    this.#moved();
  }

  set(strength, exposure) {
    [this.#strength, this.#exposure] = [strength, exposure];
    this.#draw();
  }

  get split() { return this.#split; }

  set split(share) {
    this.#split = Math.min(1, Math.max(0, share));
    this.#onSplit(this.#split);
    this.#draw();
  }

  get zoomed() { return this.#zoom > 1; }

  // Canvas pixels for one pixel of a picture so many pixels wide.
  scale(width) { return (this.#fit() * this.#zoom * this.#width()) / width; }

  // Larger by a factor, what lies under (left, top), shares of the canvas, staying where it is.
  zoomBy(factor, left = 0.5, top = 0.5) {
    const zoom = Math.min(MOST_ZOOM, Math.max(1, this.#zoom * factor));
    const [across, down] = this.#spans();
    const grown = 1 / this.#zoom - 1 / zoom;
    this.#x += (left - 0.5) * across * this.#zoom * grown;
    this.#y += (top - 0.5) * down * this.#zoom * grown;
    this.#zoom = zoom;
    this.#moved();
    this.#onZoom();
  }

  // By shares of the canvas.
  pan(left, top) {
    const [across, down] = this.#spans();
    this.#x -= left * across;
    this.#y -= top * down;
    this.#moved();
  }

  #any() { return this.#before ?? this.#after; }
  #width() { return this.#any()?.width ?? 1; }
  #height() { return this.#any()?.height ?? 1; }
  #fit() { return Math.min(this.#canvas.width / this.#width(), this.#canvas.height / this.#height()); }

  // How much of the picture the canvas spans, as shares of the picture; above 1 where it leaves a border.
  #spans() {
    const scale = this.#fit() * this.#zoom;
    return [this.#canvas.width / (this.#width() * scale), this.#canvas.height / (this.#height() * scale)];
  }

  #moved() {
    this.#pixels = null;
    this.#draw();
  }

  #draw() {
    if (!this.#due) this.#due = requestAnimationFrame(() => { this.#due = 0; this.#paint(); });
  }

  #paint() {
    const canvas = this.#canvas;
    const box = canvas.getBoundingClientRect();
    if (!box.width || !box.height) return;
    const dense = Math.min(window.devicePixelRatio || 1, Math.sqrt(MOST_PIXELS / (box.width * box.height)));
    const [width, height] = [Math.round(box.width * dense), Math.round(box.height * dense)];
    if (canvas.width !== width || canvas.height !== height) {
      [canvas.width, canvas.height] = [width, height];
      this.#pixels = null;
    }
    if (!this.#any()) {
      this.#context.fillRect(0, 0, width, height);
      return;
    }
    this.#pixels ??= this.#rasterise(width, height);
    const { place, sides, out } = this.#pixels;
    const key = `${this.#strength} ${this.#exposure}`;
    if (this.#told !== key) [this.#tones, this.#told] = [table(this.#strength, this.#exposure), key];
    this.#context.fillStyle = "#0b0d10";
    this.#context.fillRect(0, 0, width, height);
    const border = Math.round(this.#split * width) - place.left;
    const from = this.#after ? Math.min(place.width, Math.max(0, border)) : place.width;
    mix(sides[0], sides[1], this.#tones, out.data, place.width, from);
    this.#context.putImageData(out, place.left, place.top);
  }

  // The pixels of both sides that are in sight.
  #rasterise(width, height) {
    const scale = this.#fit() * this.#zoom;
    const [wide, tall] = [this.#width() * scale, this.#height() * scale];
    const middle = (share, span) => (span >= 1 ? 0.5 : Math.min(1 - span / 2, Math.max(span / 2, share)));
    const [across, down] = this.#spans();
    [this.#x, this.#y] = [middle(this.#x, across), middle(this.#y, down)];
    const [left, top] = [width / 2 - this.#x * wide, height / 2 - this.#y * tall];
    const place = { left: Math.max(0, Math.round(left)), top: Math.max(0, Math.round(top)) };
    place.width = Math.max(1, Math.min(width, Math.round(left + wide)) - place.left);
    place.height = Math.max(1, Math.min(height, Math.round(top + tall)) - place.top);
    const sides = [this.#before ?? this.#after, this.#after ?? this.#before].map((bitmap, side) => {
      const context = this.#sides[side];
      [context.canvas.width, context.canvas.height] = [place.width, place.height];
      context.imageSmoothingEnabled = scale * (this.#width() / bitmap.width) < 3;
      context.imageSmoothingQuality = "high";
      context.drawImage(bitmap, left - place.left, top - place.top, wide, tall);
      return context.getImageData(0, 0, place.width, place.height).data;
    });
    return { place, sides, out: new ImageData(place.width, place.height) };
  }
}
