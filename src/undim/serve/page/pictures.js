// The pictures of this page and what becomes of each: a preview at once, then the service's answer, two at a time.

import { decodeSmall, measure } from "./decode.js";
import { Gate } from "./gate.js";
import { ServiceError, enhance } from "./service.js";

const AT_ONCE = 2;
/** Requests in flight. */
const BUSY = 429;
const WAIT = 2;
/** Seconds before another try where a busy service names none. */
const TRIES = 30;
const THUMBNAIL = 160;
const SHOWN = "jpg";
/** Format that every browser shows, for pictures that this one does not. */

/** One picture. `state`: waiting, sending, working, receiving, busy, ready, failed or cancelled. */
export class Picture {
  constructor(file, key) {
    this.file = file;
    this.name = file.name || "picture";
    this.key = key;
    this.state = "waiting";
    this.share = 0;
    this.words = "";
    this.notes = [];
    this.strength = 1;
    this.exposure = 0;
    this.size = null;
    this.before = null;
    /** Blob that this browser can show, once there is one. */
    this.after = null;
    /** {blob, kind, notes} of strength 1 and exposure 0, as the service sent it. */
    this.afterIsOutput = false;
    /** Whether that has the format which the picture itself asks for. */
    this.small = { before: null, after: null };
    this.stopper = new AbortController();
    this.removed = false;
  }

  /** The pictures in progress: neither made nor given up. */
  get open() {
    return !["ready", "failed", "cancelled"].includes(this.state);
  }

  dropSmall(...sides) {
    for (const side of sides) {
      this.small[side]?.close();
      this.small[side] = null;
    }
  }
}

/** All of them, in order. `onChange(picture)` is called when one changes, `needToken()` when the service asks for one. */
export class Pictures {
  constructor(onChange, needToken) {
    this.list = [];
    this.onChange = onChange;
    this.needToken = needToken;
    this.gate = new Gate(AT_ONCE);
    this.model = "";
    this.fast = false;
    this.selected = null;
    this.busy = 0;
    this.count = 0;
  }

  add(files) {
    const added = [...files].map((file) => new Picture(file, ++this.count));
    this.list.push(...added);
    for (const picture of added) this.preview(picture);
    this.pump();
    return added;
  }

  /** Forget a picture; what is on its way for it is cancelled. */
  remove(picture) {
    picture.removed = true;
    picture.stopper.abort();
    picture.dropSmall("before", "after");
    this.list.splice(this.list.indexOf(picture), 1);
  }

  cancel(picture) {
    picture.stopper.abort();
    this.set(picture, "cancelled");
  }

  /** Make it again from the start, with the model and speed of now. */
  retry(picture) {
    picture.stopper.abort();
    picture.stopper = new AbortController();
    picture.after = null;
    picture.dropSmall("after");
    this.set(picture, "waiting");
    this.pump();
  }

  /** Take another model, or the faster way: all are made again. */
  setWay(model, fast) {
    if (model === this.model && fast === this.fast) return;
    this.model = model;
    this.fast = fast;
    for (const picture of this.list) if (picture.state !== "cancelled") this.retry(picture);
  }

  set(picture, state, share = 0, words = "") {
    if (picture.removed) return;
    Object.assign(picture, { state, share, words });
    this.onChange(picture);
  }

  /** What the browser itself can show of the file, at once. */
  async preview(picture) {
    picture.measured = measure(picture.file);
    const size = await picture.measured;
    if (!size) return;
    await this.setBefore(picture, picture.file, size);
  }

  async setBefore(picture, blob, size) {
    picture.before = blob;
    picture.size = size;
    await this.setSmall(picture, "before", blob);
  }

  async setSmall(picture, side, blob) {
    try {
      const bitmap = await decodeSmall(blob, picture.size, THUMBNAIL, picture.stopper.signal);
      if (picture.removed || (side === "after" && picture.after?.blob !== blob)) {
        bitmap.close();
        return;
      }
      picture.dropSmall(side);
      picture.small[side] = bitmap;
    } catch {
      // Stopped, or a file whose head alone is whole: the service tells what is wrong with it.
    }
    if (!picture.removed) this.onChange(picture);
  }

  /** Start what waits as long as there is a place; the one that is looked at comes first. */
  pump() {
    while (this.busy < AT_ONCE) {
      const waiting = this.list.filter((picture) => picture.state === "waiting");
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
    try {
      const size = await picture.measured;
      signal.throwIfAborted();
      if (!picture.before) await this.fetchBefore(picture, signal);
      const format = size ? "" : SHOWN;
      const after = await this.ask(picture, { strength: 1, exposure: 0, format }, signal);
      picture.after = after;
      picture.afterIsOutput = !format;
      picture.notes = after.notes;
      this.set(picture, "ready");
      this.setSmall(picture, "after", after.blob);
    } catch (error) {
      if (!signal.aborted) this.set(picture, "failed", 0, error.message);
    }
  }

  /** The picture as the service reads it, where the browser does not. */
  async fetchBefore(picture, signal) {
    const before = await this.ask(picture, { strength: 0, format: SHOWN }, signal);
    const size = await measure(before.blob);
    signal.throwIfAborted();
    if (!size) throw new Error("This browser cannot show what the service sent.");
    await this.setBefore(picture, before.blob, size);
  }

  /** Ask the service; where it is busy, wait as long as it says and ask again. */
  async ask(picture, options, signal, tell = (stage, share) => this.set(picture, stage, share)) {
    const way = { model: this.model, fast: this.fast || "" };
    for (let tries = 1; ; tries++) {
      try {
        const report = (stage, share) => signal.aborted || tell(stage, share);
        return await this.gate.run(() => enhance(picture.file, { ...way, ...options }, signal, report), signal);
      } catch (error) {
        if (signal.aborted || !(error instanceof ServiceError)) throw error;
        if (error.status === 401 && tries < TRIES) {
          await this.needToken();
        } else if (error.status === BUSY && tries < TRIES) {
          tell("busy", error.retryAfter ?? WAIT);
          await sleep(error.retryAfter ?? WAIT, signal);
        } else {
          throw error;
        }
      }
    }
  }

  /** The finished file with the picture's numbers: {blob, kind}. `format` and `quality` may be empty. */
  output(picture, { format, quality }, signal, tell) {
    const { strength, exposure } = picture;
    const same = strength === 1 && exposure === 0 && !format && !quality;
    if (same && picture.afterIsOutput && picture.after) return picture.after;
    return this.ask(picture, { strength, exposure, format, quality }, signal, tell);
  }

  close() {
    for (const picture of this.list) {
      picture.removed = true;
      picture.stopper.abort();
    }
    this.list = [];
  }
}

function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
