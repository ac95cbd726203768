// The dataset that is open: what the service knows of it, and every change that people make.
import { ask, path, query } from "./api.js";

const LOOK_AGAIN_S = 1.5; // until the warnings of a large dataset belong to what it is now

export class Dataset {
  #listeners = new Set();
  #timer;

  constructor(facts) {
    this.facts = facts;
  }

  get address() {
    return `v1/datasets/${path(this.facts.id)}`;
  }

  onChange(listener) {
    this.#listeners.add(listener);
  }

  close() {
    clearTimeout(this.#timer);
    this.#listeners.clear();
  }

  // What the service says of the dataset now.
  update(facts) {
    if (facts.revision < this.facts.revision) return; // an answer that was overtaken
    this.facts = facts;
    for (const listener of this.#listeners) listener(facts);
    clearTimeout(this.#timer);
    if (facts.warnings_revision !== facts.revision) this.#timer = setTimeout(() => this.refresh().catch(() => {}), 1000 * LOOK_AGAIN_S);
  }

  async refresh() {
    this.update(await ask(this.address));
  }

  async addClass(name) {
    this.update(await ask(`${this.address}/classes`, { method: "POST", json: { name } }));
  }

  async renameClass(id, name) {
    this.update(await ask(`${this.address}/classes/${path(id)}`, { method: "PATCH", json: { name } }));
  }

  async removeClass(id) {
    this.update(await ask(`${this.address}/classes/${path(id)}`, { method: "DELETE" }));
  }

  // Photos of a class; what was not taken has an `error` in its place. `again`: they were sent before, without an answer.
  async addImages(name, files, signal, again) {
    const body = new FormData();
    for (const file of files) body.append("image", file, file.name);
    const address = `${this.address}/images${query({ class: name, again: again || undefined })}`;
    const answer = await ask(address, { method: "POST", body, signal }).catch((error) => {
      if (!error.body?.images) throw error;
      return error.body;
    });
    this.update(answer.dataset);
    return answer.images;
  }

  images(name, offset, limit) {
    return ask(`${this.address}/images${query({ class: name, offset, limit })}`);
  }

  image(id) {
    return `${this.address}/images/${path(id)}`;
  }

  thumbnail(id, size = 160) {
    return `${this.image(id)}/thumbnail?size=${size}`;
  }

  async relabel(id, name) {
    await ask(this.image(id), { method: "PATCH", json: { class: name } });
    await this.refresh();
  }

  async removeImage(id) {
    await ask(this.image(id), { method: "DELETE" });
    await this.refresh();
  }
}
