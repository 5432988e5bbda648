// Draws before and after on a plain canvas, where there is no WebGL 2: the same calls as draw_webgl.js.

import { applyTable } from "./curve.js";

const SHARP_FROM = 3;

export class CanvasDrawer {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.layers = new Map();
    this.largest = 4096;
    this.hidden = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  }

  setTable(table) {
    this.table = table;
  }

  setLayer(name, before, after, part) {
    this.dropLayer(name);
    this.layers.set(name, { before, after, part });
  }

  dropLayer(name) {
    const layer = this.layers.get(name);
    layer?.before.close();
    layer?.after?.close();
    this.layers.delete(name);
  }

  draw(view, split) {
    const { width, height } = this.canvas;
    const after = this.render("after", view);
    const before = this.render("before", view);
    if (before && after) {
      applyTable(this.table, before.data, after.data);
      this.context.putImageData(after, 0, 0);
      if (split > 0) this.context.putImageData(before, 0, 0, 0, 0, Math.min(split, width), height);
    } else if (before) {
      this.context.putImageData(before, 0, 0);
    } else {
      this.context.clearRect(0, 0, width, height);
    }
  }

  /** The pixels of the stage with one side of all layers on it, or null if no layer has it. */
  render(side, view) {
    const { width, height } = this.canvas;
    const layers = [...this.layers.values()].filter((layer) => layer[side]);
    if (!layers.length) return null;
    this.hidden.canvas.width = width;
    this.hidden.canvas.height = height;
    this.hidden.imageSmoothingEnabled = view.scale < SHARP_FROM;
    this.hidden.imageSmoothingQuality = "high";
    for (const { part, [side]: bitmap } of layers) {
      const [left, top] = [view.x + view.scale * part.left, view.y + view.scale * part.top];
      this.hidden.drawImage(bitmap, left, top, view.scale * part.width, view.scale * part.height);
    }
    return this.hidden.getImageData(0, 0, width, height);
  }
}
