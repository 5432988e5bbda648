/** So many at once; the others wait in turn. */
export class Gate {
	constructor(places) {
		this.places = places;
		this.waiting = [];
	}

	/** Run `work` when there is a place, unless the signal aborts before. */
	async run(work, signal) {
		if (this.places) this.places--;
		else await new Promise((resolve) => this.waiting.push(resolve)); // the one before leaves its place
		try {
			signal?.throwIfAborted();
			return await work();
		} finally {
			const next = this.waiting.shift();
			if (next) next();
			else this.places++;
		}
	}
}
