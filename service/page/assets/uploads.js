// Photos on their way into a dataset: in batches, a few at a time, each error by the name of its file.
import { Unreachable } from "./api.js";
import { pool } from "./dom.js";

const BATCH_FILES = 16;
const BATCH_BYTES = 8e6;
const SENT_AT_ONCE = 2;
const LEAST_WAIT_S = 1;
const MOST_WAIT_S = 8;

export class Uploads {
  #waiting = new Map(); // files by class
  #sending = pool(SENT_AT_ONCE);
  #stop = new AbortController();

  constructor(dataset, changed) {
    Object.assign(this, { dataset, changed, done: 0, total: 0, errors: [], lost: false });
  }

  get busy() {
    return this.done < this.total;
  }

  add(name, files) {
    if (!files.length) return;
    if (!this.busy) [this.done, this.total, this.errors] = [0, 0, []];
    this.#waiting.set(name, [...(this.#waiting.get(name) ?? []), ...files]);
    this.total += files.length;
    this.changed(this);
    // One task for each file: whoever comes first takes as many as go together.
    for (const _ of files) this.#sending(() => this.#batch(name));
  }

  // Send nothing more; what has arrived stays.
  cancel() {
    this.#stop.abort(new DOMException("cancelled", "AbortError"));
    this.#stop = new AbortController();
    this.#waiting.clear();
    [this.done, this.total, this.lost] = [0, 0, false];
    this.changed(this);
  }

  async #batch(name) {
    const waiting = this.#waiting.get(name) ?? [];
    const batch = [];
    let size = 0;
    while (waiting.length && batch.length < BATCH_FILES && (!batch.length || size + waiting[0].size < BATCH_BYTES)) {
      size += waiting[0].size;
      batch.push(waiting.shift());
    }
    if (!batch.length) return;
    const { signal } = this.#stop;
    try {
      const images = await this.#sent(name, batch, signal);
      images.forEach((image, index) => image.error && this.errors.push({ name: batch[index].name, message: image.error.message }));
    } catch (error) {
      if (signal.aborted) return;
      this.errors.push(...batch.map((file) => ({ name: file.name, message: error.message })));
    }
    this.done += batch.length;
    this.changed(this);
  }

  // Goes on once the service is back where it was gone; what had arrived before is not taken twice.
  async #sent(name, batch, signal) {
    for (let wait = LEAST_WAIT_S, again = false; ; wait = Math.min(2 * wait, MOST_WAIT_S), again = true) {
      try {
        const images = await this.dataset.addImages(name, batch, signal, again);
        this.lost = false;
        return images;
      } catch (error) {
        if (!(error instanceof Unreachable) || signal.aborted) throw error;
        this.lost = true;
        this.changed(this);
        await new Promise((resolve) => setTimeout(resolve, 1000 * wait));
        if (signal.aborted) throw error;
      }
    }
  }
}
