// As draw_webgl.js, on a plain canvas: where WebGL 2 is missing or has no graphics card.

import { SHARP_FROM } from "./draw_webgl.js";

/** Put into `made`, from a column on, what the table makes of two pictures: words of a pixel each, alpha first. */
function mix(table, before, after, made, width, column) {
	for (let row = 0; row < made.length; row += width) {
		for (let i = row + column; i < row + width; i++) {
			const b = before[i];
			const a = after[i];
			const blue = table[((b >>> 8) & 0xff00) | ((a >>> 16) & 255)];
			const green = table[(b & 0xff00) | ((a >>> 8) & 255)];
			made[i] = (b & 0xff000000) | (blue << 16) | (green << 8) | table[((b & 255) << 8) | (a & 255)];
		}
	}
}

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
		// The sliders and the handle change neither side.
		if (this.seen !== seen) Object.assign(this, { seen, before: this.side("before", view), after: this.side("after", view), made: new ImageData(width, height) });
		const { before, after, made } = this;
		const edge = after ? split : width;
		this.context.putImageData(before, 0, 0, 0, 0, edge, height);
		if (!after) return;
		mix(this.table, ...[before, after, made].map(({ data }) => new Uint32Array(data.buffer)), width, edge);
		this.context.putImageData(made, 0, 0, edge, 0, width - edge, height);
	}

	/** The stage's pixels with one side of all layers that have it; null for an "after" that there is not. */
	side(side, view) {
		const { hidden, canvas: { width, height } } = this;
		const layers = [...this.layers.values()].filter((layer) => layer[side]);
		if (side === "after" && !layers.length) return null;
		Object.assign(hidden.canvas, { width, height }); // empties it
		hidden.imageSmoothingEnabled = view.scale < SHARP_FROM;
		for (const { part, [side]: bitmap } of layers) {
			const { scale, x, y } = view;
			hidden.drawImage(bitmap, x + scale * part.left, y + scale * part.top, scale * part.width, scale * part.height);
		}
		return hidden.getImageData(0, 0, width, height);
	}
}
