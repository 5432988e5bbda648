// So many at once, the others wait.

export class Gate {
  constructor(places) {
    this.places = places;
    this.waiting = [];
  }

  /** Run `work` when there is a place; a signal that aborts ends the waiting with its reason. */
  async run(work, signal) {
    await this.enter(signal);
    try {
      return await work();
    } finally {
      this.places++;
      this.waiting.shift()?.();
    }
  }

  enter(signal) {
    signal?.throwIfAborted();
    if (this.places > 0) {
      this.places--;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const go = () => {
        signal?.removeEventListener("abort", leave);
        this.places--;
        resolve();
      };
      const leave = () => {
        this.waiting.splice(this.waiting.indexOf(go), 1);
        reject(signal.reason);
      };
      signal?.addEventListener("abort", leave, { once: true });
      this.waiting.push(go);
    });
  }
}
