// Draws before and after on a plain canvas where there is no WebGL 2, or only a slow one without a graphics card, by the
// same calls as draw_webgl.js.

import { applyTable } from "./curve.js";
import { SHARP_FROM } from "./draw_webgl.js";

export class CanvasDrawer {
	constructor(canvas) {
		this.canvas = canvas;
		this.context = canvas.getContext("2d");
		this.hidden = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
		this.layers = new Map();
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
		this.seen = null;
	}

	draw(view, split) {
		const { width, height } = this.canvas;
		const seen = JSON.stringify([view, width, height]);
		// The sliders and the handle change neither side: only then are both drawn and read again.
		if (this.seen !== seen) Object.assign(this, { seen, before: this.side("before", view), after: this.side("after", view), made: new ImageData(width, height) });
		const { before, after, made } = this;
		made.data.set(before.data);
		if (after) applyTable(this.table, before.data, after.data, made.data, width, split);
		this.context.putImageData(made, 0, 0);
	}

	/** The stage's pixels with one side of all layers that have it; null for an "after" that there is not. */
	side(side, view) {
		const { hidden } = this;
		const layers = [...this.layers.values()].filter((layer) => layer[side]);
		if (side === "after" && !layers.length) return null;
		Object.assign(hidden.canvas, { width: this.canvas.width, height: this.canvas.height }); // empties it
		hidden.imageSmoothingEnabled = view.scale < SHARP_FROM;
		for (const { part, [side]: bitmap } of layers) {
			const { scale, x, y } = view;
			hidden.drawImage(bitmap, x + scale * part.left, y + scale * part.top, scale * part.width, scale * part.height);
		}
		return hidden.getImageData(0, 0, this.canvas.width, this.canvas.height);
	}
}
