// The pictures of this page and what becomes of each: a preview at once, the service's answer two at a time.

import { Gate } from "./gate.js";
import { LIST, decode, measure } from "./decode.js";
import { ServiceError, enhance } from "./service.js";

const AT_ONCE = 2;
const WAIT = 2;
/** Seconds to the next try where a busy service tells none. */
const TRIES = 50;
const SMALL = 160;
/** Pixels along the longer side of what the list keeps of a picture. */
const SHOWN = "jpg";
/** What every browser shows, for pictures that this one does not. */

const mega = (bytes) => (bytes / 1e6).toFixed(1);

/** One picture. `state`: waiting, sending, working, receiving, busy, ready, failed or cancelled. */
class Picture {
	state = "waiting";
	share = 0; // of what is sent or received; seconds to wait where busy
	words = ""; // why it failed
	notes = [];
	strength = 1;
	exposure = 0;
	size = null;
	before = null; // a blob that this browser shows
	after = null; // {blob, kind, notes} of strength 1 and exposure 0
	small = { before: null, after: null }; // bitmaps
	stopper = new AbortController();

	constructor(file, key) {
		Object.assign(this, { file, key, name: file.name || "picture" });
	}

	get open() {
		return !["ready", "failed", "cancelled"].includes(this.state);
	}
}

/** All of them, in order. `onChange(picture)` is called when one changes; `needToken()` when the service asks for one. */
export class Pictures {
	list = [];
	selected = null;
	model = "";
	fast = "";
	count = 0;
	busy = 0;
	most = Infinity; // bytes of a file
	gate = new Gate(AT_ONCE);

	constructor(onChange, needToken) {
		Object.assign(this, { onChange, needToken });
	}

	add(files) {
		const added = files.map((file) => new Picture(file, ++this.count));
		this.list.push(...added);
		for (const picture of added) picture.measured = this.preview(picture, picture.file);
		this.pump();
		return added;
	}

	/** Forget it; what is on its way for it is cancelled. */
	remove(picture) {
		this.list = this.list.filter((each) => each !== picture);
		picture.stopper.abort();
		for (const bitmap of Object.values(picture.small)) bitmap?.close();
	}

	cancel(picture) {
		picture.stopper.abort();
		this.set(picture, "cancelled");
	}

	/** Make it again, with the model of now. */
	retry(picture) {
		picture.stopper.abort();
		picture.stopper = new AbortController();
		picture.after = null;
		this.set(picture, "waiting");
		this.pump();
	}

	/** Take another model, or the faster way ("true" or ""): all are made again. */
	setWay(model, fast) {
		Object.assign(this, { model, fast });
		for (const picture of this.list) if (picture.state !== "cancelled") this.retry(picture);
	}

	set(picture, state, share = 0, words = "") {
		if (!this.list.includes(picture)) return;
		Object.assign(picture, { state, share, words });
		this.onChange(picture);
	}

	/** Take a blob as what the picture was before; whether this browser shows it. */
	async preview(picture, blob) {
		const size = await measure(blob);
		if (!size) return false;
		Object.assign(picture, { size, before: blob });
		this.shrink(picture, "before", blob);
		return true;
	}

	async shrink(picture, side, blob) {
		const { width, height } = picture.size;
		// A file of which the head alone is whole has no small picture: the service tells what is wrong with it.
		const bitmap = await decode(LIST, blob, picture.size, SMALL / Math.max(width, height)).catch(() => null);
		if (!bitmap || !this.list.includes(picture)) return bitmap?.close();
		picture.small[side]?.close();
		picture.small[side] = bitmap;
		return this.onChange(picture);
	}

	/** Start what waits where there is a place: first the one that is looked at. */
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
			const format = (await picture.measured) ? "" : SHOWN;
			if (!picture.before) {
				const { blob } = await this.ask(picture, { strength: 0, format }, signal, tell);
				if (!(await this.preview(picture, blob))) throw new Error("This browser cannot show what the service sent.");
			}
			const after = await this.ask(picture, { strength: 1, exposure: 0, format }, signal, tell);
			Object.assign(picture, { after, notes: after.notes, isOutput: !format });
			tell("ready");
			await this.shrink(picture, "after", after.blob);
		} catch (error) {
			if (!signal.aborted) this.set(picture, "failed", 0, error.message);
		}
	}

	/** Ask the service; while it is busy, wait as long as it says and ask again. */
	async ask({ file }, query, signal, tell) {
		const { model, fast, most } = this;
		// The service would hang up on what is larger, and the browser could not tell why.
		if (file.size > most) throw new Error(`The file has ${mega(file.size)} MB; this service takes at most ${mega(most)}.`);
		for (let tries = 1; ; tries++) {
			try {
				return await this.gate.run(() => enhance(file, { model, fast, ...query }, signal, tell), signal);
			} catch (error) {
				if (signal.aborted || tries === TRIES || !(error instanceof ServiceError)) throw error;
				if (error.status === 401) {
					if (!this.needToken()) throw error;
				} else if (error.status === 429) {
					const wait = error.wait ?? WAIT;
					tell("busy", wait);
					await new Promise((resolve) => setTimeout(resolve, 1000 * wait));
				} else {
					throw error;
				}
			}
		}
	}

	/** The file with the picture's numbers, {blob, kind}; an empty `format` is the picture's own. */
	output(picture, { format, quality }, signal, tell) {
		const { strength, exposure, isOutput, after } = picture;
		if (strength === 1 && exposure === 0 && !format && !quality && isOutput && after) return after;
		return this.ask(picture, { strength, exposure, format, quality }, signal, tell);
	}

	close() {
		for (const picture of this.list) this.remove(picture);
	}
}
