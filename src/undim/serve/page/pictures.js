// The pictures and what becomes of each: a preview at once, then the service's answer.

import { Gate } from "./gate.js";
import { LIST, decode, measure } from "./decode.js";
import { bytes } from "./names.js";
import { enhance } from "./service.js";

const AT_ONCE = 2;
const TRIES = 50;
const SMALL = 160; // pixels along the longer side of what the list keeps
const SHOWN = "jpg"; // for pictures that this browser does not show

/** One picture. `state`: waiting, sending, working, receiving, busy, ready, failed or cancelled. */
class Picture {
	state = "waiting";
	share = 0; // sent or received; seconds to wait where busy
	words = "";
	notes = []; // of the file that is downloaded
	unshown = false; // by this browser
	strength = 1;
	exposure = 0;
	size = null;
	before = null; // a blob
	after = null; // {blob, kind, notes} of strength 1 and exposure 0
	small = {}; // before and after, bitmaps
	stopper = new AbortController();

	constructor(file, key) {
		Object.assign(this, { file, key, name: file.name || "picture" });
	}

	get open() {
		return !["ready", "failed", "cancelled"].includes(this.state);
	}
}

/** All of them. `onChange(picture)` is called when one changes, `needToken()` where the service asks for one. */
export class Pictures {
	list = [];
	selected = null;
	model = "";
	count = 0;
	busy = 0;
	most = Infinity; // bytes
	gate = new Gate(AT_ONCE);

	constructor(onChange, needToken) {
		Object.assign(this, { onChange, needToken });
	}

	add(files) {
		const added = files.map((file) => new Picture(file, ++this.count));
		this.list.push(...added);
		for (const picture of added) picture.measured = this.previewFile(picture);
		this.pump();
		return added;
	}

	remove(picture) {
		this.list = this.list.filter((each) => each !== picture);
		picture.stopper.abort();
		for (const bitmap of Object.values(picture.small)) bitmap?.close();
	}

	cancel(picture) {
		picture.stopper.abort();
		this.set(picture, "cancelled");
	}

	retry(picture) {
		picture.stopper.abort();
		picture.stopper = new AbortController();
		picture.after = null;
		this.set(picture, "waiting");
		this.pump();
	}

	setModel(model) {
		this.model = model;
		for (const picture of this.list) if (picture.state !== "cancelled") this.retry(picture);
	}

	set(picture, state, share = 0, words = "") {
		if (!this.list.includes(picture)) return;
		Object.assign(picture, { state, share, words });
		this.onChange(picture);
	}

	async previewFile(picture) {
		picture.unshown = !(await this.preview(picture, picture.file));
		if (picture.unshown) this.onChange(picture);
	}

	/** Take a blob as before; whether this browser shows it. */
	async preview(picture, blob) {
		const size = await measure(blob);
		if (!size) return false;
		Object.assign(picture, { size, before: blob });
		this.shrink(picture, "before", blob);
		return true;
	}

	async shrink(picture, side, blob) {
		const { width, height } = picture.size;
		// Where a file is damaged, the service tells.
		const bitmap = await decode(LIST, blob, picture.size, SMALL / Math.max(width, height)).catch(() => null);
		if (!bitmap || !this.list.includes(picture)) return bitmap?.close();
		picture.small[side]?.close();
		picture.small[side] = bitmap;
		return this.onChange(picture);
	}

	/** Start what waits, first the one that is looked at. */
	pump() {
		while (this.busy < AT_ONCE) {
			const waiting = this.list.filter(({ state }) => state === "waiting");
			const next = waiting.find((picture) => picture === this.selected) ?? waiting[0];
			if (!next) return;
			this.busy++;
			this.set(next, "sending");
			this.make(next, next.stopper.signal).finally(() => {
				this.busy--;
				this.pump();
			});
		}
	}

	async make(picture, signal) {
		const tell = (state, share) => signal.aborted || this.set(picture, state, share);
		try {
			if (picture.file.unread) throw new Error("This cannot be read: it is gone, or you may not open it.");
			await picture.measured;
			const format = picture.unshown ? SHOWN : "";
			if (!picture.before) {
				const { blob } = await this.ask(picture, { strength: 0, format }, signal, tell);
				if (!(await this.preview(picture, blob))) throw new Error("This browser cannot show what the service sent.");
			}
			const after = await this.ask(picture, { strength: 1, exposure: 0, format }, signal, tell);
			Object.assign(picture, { after, notes: format ? [] : after.notes });
			tell("ready");
			await this.shrink(picture, "after", after.blob);
		} catch (error) {
			if (!signal.aborted) this.set(picture, "failed", 0, error.message);
		}
	}

	/** Ask the service; where it is busy, again after as long as it says. */
	async ask({ file }, query, signal, tell) {
		const { model, most } = this;
		// The service would hang up, and the browser could not tell why.
		if (file.size > most) throw new Error(`The file has ${bytes(file.size)}; this service takes at most ${bytes(most)}.`);
		for (let tries = 1; ; tries++) {
			try {
				return await this.gate.run(() => enhance(file, { model, ...query }, signal, tell), signal);
			} catch (error) {
				const { status, wait } = error;
				if (signal.aborted || tries === TRIES) throw error;
				if (status === 429) {
					tell("busy", wait);
					await new Promise((resolve, reject) => {
						setTimeout(resolve, 1000 * wait);
						signal.onabort = reject;
					});
				} else if (status !== 401 || !this.needToken()) {
					throw error;
				}
			}
		}
	}

	/** The file with the picture's numbers, {blob, kind}. */
	async output(picture, format, signal, tell) {
		const { strength, exposure, unshown, after } = picture;
		const made = strength === 1 && exposure === 0 && !format && !unshown && after;
		const output = made || (await this.ask(picture, { strength, exposure, format }, signal, tell));
		picture.notes = output.notes;
		this.onChange(picture);
		return output;
	}

	close() {
		for (const picture of this.list) this.remove(picture);
	}
}
