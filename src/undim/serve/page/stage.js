// The large picture: before left of the handle, after right of it, zoomed and moved in step.

import { makeTable } from "./curve.js";
import { STAGE, decode } from "./decode.js";
import { CanvasDrawer } from "./draw_canvas.js";
import { WebGLDrawer } from "./draw_webgl.js";
import { fit, isFitted, settle, visible, zoom } from "./view.js";

const REDUCED = 2048; // pixels along the longer side of what is kept of a large picture
const STILL = 180; // milliseconds without a movement until what is seen is decoded in full
const REACH = 28; // CSS pixels from the handle within which a drag takes it

export class Stage {
	constructor(canvas, handle, onDraw) {
		Object.assign(this, { canvas, handle, onDraw, split: 0.5, strength: 1, exposure: 0, picture: null });
		this.view = { scale: 1, x: 0, y: 0 };
		this.pointers = new Map();
		this.loading = new AbortController();
		this.frame = canvas.parentElement;
		try {
			this.drawer = new WebGLDrawer(canvas, () => this.show(this.picture));
		} catch {
			this.drawer = new CanvasDrawer(canvas);
		}
		this.listen();
		new ResizeObserver(() => this.resize()).observe(this.frame);
	}

	/** Show {key, before, after, size}, two blobs of which `after` may be null. */
	async show(picture) {
		this.loading.abort();
		this.loading = new AbortController();
		const another = picture?.key !== this.picture?.key;
		this.picture = picture;
		if (another) {
			for (const name of ["whole", "part"]) this.drawer.dropLayer(name);
			this.base = 0;
			this.fit();
		}
		if (!picture) return this.redraw();
		const { size } = picture;
		const base = Math.min(1, REDUCED / Math.max(size.width, size.height));
		const bitmaps = await this.decode(size, base);
		if (!bitmaps) return;
		this.drawer.dropLayer("part");
		this.drawer.setLayer("whole", ...bitmaps, { left: 0, top: 0, ...size });
		this.base = base;
		this.settled = false;
		return this.moved();
	}

	/** Both bitmaps of a part; null if they come too late. */
	async decode(part, scale) {
		const { signal } = this.loading;
		const { before, after } = this.picture;
		const made = [before, after].map((blob) => blob && decode(STAGE, blob, part, scale, signal));
		const bitmaps = (await Promise.allSettled(made)).map(({ value }) => value ?? null);
		if (!signal.aborted && bitmaps[0]) return bitmaps;
		bitmaps.forEach((bitmap) => bitmap?.close());
		return null;
	}

	setNumbers(strength, exposure) {
		Object.assign(this, { strength, exposure, settled: false });
		this.redraw();
	}

	setSplit(share) {
		this.split = Math.min(1, Math.max(0, share));
		this.redraw();
	}

	get size() {
		return { width: this.canvas.width, height: this.canvas.height };
	}

	get fitted() {
		return !this.picture || isFitted(this.view, this.size, this.picture.size);
	}

	fit() {
		if (this.picture) this.moved(fit(this.size, this.picture.size));
	}

	zoom(factor, point = { x: this.size.width / 2, y: this.size.height / 2 }) {
		if (this.picture) this.moved(zoom(this.view, factor, point, this.size, this.picture.size));
	}

	pan(dx, dy) {
		const { scale, x, y } = this.view;
		if (this.picture) this.moved(settle({ scale, x: x + dx, y: y + dy }, this.size, this.picture.size));
	}

	moved(view = this.view) {
		this.view = view;
		this.redraw();
		clearTimeout(this.stillness);
		this.stillness = setTimeout(() => this.sharpen(), STILL);
	}

	resize() {
		const { clientWidth, clientHeight } = this.frame;
		const [width, height] = [clientWidth, clientHeight].map((side) => Math.round(side * devicePixelRatio));
		if (!width || !height || (width === this.canvas.width && height === this.canvas.height)) return;
		const wasFitted = this.fitted;
		Object.assign(this.canvas, { width, height });
		if (wasFitted) this.fit();
		else this.pan(0, 0);
		this.draw(); // at once: the change has emptied the canvas
	}

	/** Decode what is seen, where the reduced picture has fewer pixels than the screen. */
	async sharpen() {
		if (!this.base || this.base === 1) return;
		const scale = Math.min(1, this.view.scale);
		if (scale <= this.base) return this.drawer.dropLayer("part");
		if (this.sharpening) return this.moved(); // later
		this.sharpening = true;
		const part = visible(this.view, this.size, this.picture.size, 0.15);
		const bitmaps = await this.decode(part, scale);
		this.sharpening = false;
		if (!bitmaps) return;
		this.drawer.setLayer("part", ...bitmaps, part);
		return this.redraw();
	}

	redraw() {
		this.next ??= requestAnimationFrame(() => this.draw());
	}

	draw() {
		cancelAnimationFrame(this.next);
		this.next = null;
		if (!this.settled) this.drawer.setTable(makeTable(this.strength, this.exposure));
		this.settled = true;
		const share = Math.round(100 * this.split);
		this.handle.style.left = `${100 * this.split}%`;
		this.handle.setAttribute("aria-valuenow", share);
		this.handle.setAttribute("aria-valuetext", `${share} % before, ${100 - share} % after`);
		this.frame.classList.toggle("zoomed", !this.fitted);
		// On whole pixels of the screen: 100 % is exactly that.
		const { scale, x, y } = this.view;
		this.drawer.draw({ scale, x: Math.round(x), y: Math.round(y) }, Math.round(this.split * this.size.width));
		this.onDraw(this.view);
	}

	listen() {
		const listeners = {
			pointerdown: (event) => this.press(event),
			pointermove: (event) => this.drag(event),
			// A finger's is first taken from what it touched.
			lostpointercapture: (event) => event.target === this.frame && this.release(event),
			dblclick: (event) => (this.fitted ? this.zoom(1 / this.view.scale, this.point(event)) : this.fit()),
			wheel: (event) => {
				event.preventDefault();
				const pixels = event.deltaY * (event.deltaMode ? 16 : 1);
				this.zoom(Math.exp(-Math.max(-100, Math.min(100, pixels)) / 250), this.point(event));
			},
		};
		for (const [name, listen] of Object.entries(listeners)) {
			this.frame.addEventListener(name, (event) => this.picture && !event.target.closest("button") && listen(event), { passive: false });
		}
		this.handle.addEventListener("keydown", (event) => this.key(event));
	}

	point({ clientX, clientY }) {
		const box = this.canvas.getBoundingClientRect();
		const ratio = this.canvas.width / box.width;
		return { x: (clientX - box.left) * ratio, y: (clientY - box.top) * ratio };
	}

	press(event) {
		if (event.button) return;
		const point = this.point(event);
		const { width } = this.size;
		const near = Math.abs(point.x - this.split * width) < (REACH * width) / this.frame.clientWidth;
		if (!this.pointers.size) this.slides = this.fitted || near;
		this.pointers.set(event.pointerId, point);
		this.frame.setPointerCapture(event.pointerId);
		this.handle.focus({ preventScroll: true });
	}

	drag(event) {
		const last = this.pointers.get(event.pointerId);
		if (!last) return;
		const point = this.point(event);
		this.pointers.set(event.pointerId, point);
		const [dx, dy] = [point.x - last.x, point.y - last.y];
		const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
		if (other) {
			const apart = ({ x, y }) => Math.hypot(x - other.x, y - other.y);
			this.pan(dx / 2, dy / 2);
			this.zoom(apart(point) / Math.max(1, apart(last)), { x: (point.x + other.x) / 2, y: (point.y + other.y) / 2 });
		} else if (this.slides) {
			this.setSplit(point.x / this.size.width);
		} else {
			this.pan(dx, dy);
		}
	}

	release(event) {
		this.pointers.delete(event.pointerId);
		if (this.pointers.size) this.slides = false; // the finger that stays does not drag the handle
	}

	key(event) {
		if (!this.picture || event.ctrlKey || event.metaKey || event.altKey) return;
		const far = this.size.width / 8;
		const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
		const zoom = { "+": 1.25, "=": 1.25, "-": 0.8, 1: 1 / this.view.scale, 0: 1e-9 }[event.key];
		const split = { Home: 0, End: 1, PageDown: this.split - 0.1, PageUp: this.split + 0.1 }[event.key];
		if (arrow && event.shiftKey) this.pan(-far * arrow[0], -far * arrow[1]);
		else if (arrow) this.setSplit(this.split + (arrow[0] - arrow[1]) / 100);
		else if (zoom) this.zoom(zoom);
		else if (split !== undefined) this.setSplit(split);
		else return;
		event.preventDefault();
	}
}
