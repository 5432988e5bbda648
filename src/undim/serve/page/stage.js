// The large picture: before on the left of the handle, after on the right of it, zoomed and moved in step.

import { makeTable } from "./curve.js";
import { decode, decodePart } from "./decode.js";
import { CanvasDrawer } from "./draw_canvas.js";
import { WebGLDrawer } from "./draw_webgl.js";
import { fit, isFitted, pan, settle, visible, zoom } from "./view.js";

const REDUCED = 2048;
/** Pixels along the longer side of what is drawn first, and of all that is kept of a large picture. */
const STILL = 180;
/** Milliseconds without a movement after which the part that is seen is decoded in full. */
const STEP = 1.25;
const FINE = 0.01;
const COARSE = 0.1;
const REACH = 28;
/** CSS pixels beside the handle from which a drag takes it. */

export class Stage {
  constructor(canvas, handle) {
    this.canvas = canvas;
    this.handle = handle;
    this.split = 0.5;
    this.strength = 1;
    this.exposure = 0;
    this.picture = null;
    this.view = { scale: 1, x: 0, y: 0 };
    this.pointers = new Map();
    this.loading = new AbortController();
    try {
      this.drawer = new WebGLDrawer(canvas, () => this.reload());
    } catch {
      this.drawer = new CanvasDrawer(canvas);
    }
    this.listen();
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
  }

  /** Show a picture {before, after, size}: two blobs, `after` null as long as there is none. */
  async show(picture) {
    const another = picture?.key !== this.picture?.key;
    this.loading.abort();
    this.loading = new AbortController();
    const { signal } = this.loading;
    this.picture = picture;
    if (another || !picture) {
      for (const name of ["whole", "part"]) this.drawer.dropLayer(name);
      this.base = 0;
    }
    if (!picture) return this.redraw();
    if (another) this.fit();
    const { before, after, size } = picture;
    const limit = Math.min(REDUCED, this.drawer.largest);
    const bitmaps = await decodeBoth(before, after, (blob) => decode(blob, size, limit, signal), signal);
    if (!bitmaps) return undefined;
    this.drawer.dropLayer("part");
    this.drawer.setLayer("whole", ...bitmaps, { left: 0, top: 0, ...size });
    this.base = Math.min(1, limit / Math.max(size.width, size.height));
    this.updateTable();
    return this.moved();
  }

  reload() {
    this.picture = this.picture && { ...this.picture };
    return this.show(this.picture);
  }

  setNumbers(strength, exposure) {
    this.strength = strength;
    this.exposure = exposure;
    this.updateTable();
    this.redraw();
  }

  updateTable() {
    this.drawer.setTable(makeTable(this.strength, this.exposure));
  }

  setSplit(share) {
    this.split = Math.min(1, Math.max(0, share));
    this.redraw();
  }

  get stage() {
    return { width: this.canvas.width, height: this.canvas.height };
  }

  get fitted() {
    return !this.picture || isFitted(this.view, this.stage, this.picture.size);
  }

  fit() {
    if (!this.picture) return;
    this.view = fit(this.stage, this.picture.size);
    this.moved();
  }

  /** Zoom about a point in device pixels, or the middle. */
  zoom(factor, point = { x: this.stage.width / 2, y: this.stage.height / 2 }) {
    if (!this.picture) return;
    this.view = zoom(this.view, factor, point, this.stage, this.picture.size);
    this.moved();
  }

  /** One pixel of the picture on one of the screen, about a point. */
  zoomToPixels(point) {
    this.zoom(1 / this.view.scale, point);
  }

  pan(dx, dy) {
    if (!this.picture) return;
    this.view = pan(this.view, dx, dy, this.stage, this.picture.size);
    this.moved();
  }

  moved() {
    this.redraw();
    clearTimeout(this.stillness);
    this.stillness = setTimeout(() => this.sharpen(), STILL);
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.canvas.parentElement;
    const [width, height] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
    if (!width || !height || (width === this.canvas.width && height === this.canvas.height)) return;
    const wasFitted = this.fitted;
    this.canvas.width = width;
    this.canvas.height = height;
    if (this.picture) {
      this.view = wasFitted ? fit(this.stage, this.picture.size) : settle(this.view, this.stage, this.picture.size);
    }
    this.draw(); // at once: a canvas that changes its size is empty until it is drawn
    this.moved();
  }

  /** Decode the part that is seen where the reduced picture has fewer pixels than the screen. */
  async sharpen() {
    if (!this.picture || !this.base || this.base === 1) return;
    if (this.sharpening) {
      clearTimeout(this.stillness);
      this.stillness = setTimeout(() => this.sharpen(), STILL);
      return;
    }
    const { before, after, size } = this.picture;
    const wanted = Math.min(1, this.view.scale);
    if (wanted <= this.base * 1.01) {
      this.drawer.dropLayer("part");
      return;
    }
    const { signal } = this.loading;
    const part = visible(this.view, this.stage, size, 0.15);
    this.sharpening = true;
    const bitmaps = await decodeBoth(before, after, (blob) => decodePart(blob, part, wanted, signal), signal);
    this.sharpening = false;
    if (!bitmaps) return;
    this.drawer.setLayer("part", ...bitmaps, part);
    this.redraw();
  }

  redraw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const share = Math.round(100 * this.split);
    this.handle.style.left = `${100 * this.split}%`;
    this.handle.setAttribute("aria-valuenow", share);
    this.handle.setAttribute("aria-valuetext", `${share} % before, ${100 - share} % after`);
    this.canvas.parentElement.classList.toggle("zoomed", !this.fitted);
    this.drawer.draw(this.view, Math.round(this.split * this.stage.width));
    this.onDraw?.();
  }

  listen() {
    const frame = this.canvas.parentElement;
    frame.addEventListener("pointerdown", (event) => this.press(event));
    frame.addEventListener("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointercancel"]) frame.addEventListener(name, (event) => this.release(event));
    frame.addEventListener("dblclick", (event) => {
      if (this.fitted) this.zoomToPixels(this.point(event));
      else this.fit();
    });
    frame.addEventListener(
      "wheel",
      (event) => {
        if (!this.picture) return;
        event.preventDefault();
        const lines = event.deltaMode === 1 ? 16 : 1;
        this.zoom(Math.exp(-Math.max(-100, Math.min(100, event.deltaY * lines)) / 250), this.point(event));
      },
      { passive: false },
    );
    this.handle.addEventListener("keydown", (event) => this.key(event));
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / box.width;
    return { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
  }

  press(event) {
    if (!this.picture || event.button || event.target.closest("button")) return;
    const point = this.point(event);
    const ratio = this.canvas.width / this.canvas.clientWidth;
    const onHandle = event.target === this.handle || Math.abs(point.x - this.split * this.stage.width) < REACH * ratio;
    if (!this.pointers.size) this.slides = this.fitted || onHandle;
    this.pointers.set(event.pointerId, point);
    this.canvas.parentElement.setPointerCapture(event.pointerId);
    if (this.slides && this.pointers.size === 1 && event.pointerType === "mouse") {
      this.setSplit(point.x / this.stage.width);
    }
    this.handle.focus({ preventScroll: true });
  }

  drag(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last) return;
    const point = this.point(event);
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const factor = distance(point, other) / Math.max(1, distance(last, other));
      this.zoom(factor, middle(point, other));
      this.pan((point.x - last.x) / 2, (point.y - last.y) / 2);
    } else if (this.slides) {
      this.setSplit(point.x / this.stage.width);
    } else {
      this.pan(point.x - last.x, point.y - last.y);
    }
    this.pointers.set(event.pointerId, point);
  }

  release(event) {
    this.pointers.delete(event.pointerId);
    if (this.pointers.size === 1) this.slides = false; // the finger that stays does not drag the handle away
  }

  key(event) {
    if (!this.picture || event.ctrlKey || event.metaKey || event.altKey) return;
    const far = this.stage.width / 8;
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = steps[event.key];
    const keys = {
      "+": () => this.zoom(STEP),
      "=": () => this.zoom(STEP),
      "-": () => this.zoom(1 / STEP),
      0: () => this.fit(),
      1: () => this.zoomToPixels(),
      Home: () => this.setSplit(0),
      End: () => this.setSplit(1),
      PageDown: () => this.setSplit(this.split - COARSE),
      PageUp: () => this.setSplit(this.split + COARSE),
    };
    if (step && event.shiftKey) this.pan(-far * step[0], -far * step[1]);
    else if (step) this.setSplit(this.split + FINE * (step[0] - step[1]));
    else if (keys[event.key]) keys[event.key]();
    else return;
    event.preventDefault();
  }
}

const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
const middle = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });

/** Both bitmaps, or null if they came too late or this browser cannot show them. */
async function decodeBoth(before, after, make, signal) {
  const made = await Promise.allSettled([make(before), after ? make(after) : null]);
  const bitmaps = made.map(({ value }) => value ?? null);
  if (!signal.aborted && bitmaps[0]) return bitmaps;
  bitmaps.forEach((bitmap) => bitmap?.close());
  return null;
}
