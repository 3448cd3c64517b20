// The next images: offers from the server, with their pictures fetched and decoded before they are needed.

import * as api from "./api.js";
import { sleep } from "./dom.js";

const AHEAD = 12; // offers held; with fewer than that, more are asked for
const FIRM = 4; // offers that stay when a newer model has better ones
const LOADS = 3; // pictures fetched at once, which leaves connections for answers
const MOST_HELD = 180; // ids in one request, which the server bounds
const KEPT = 24; // pictures kept of images already answered, for undo

class Picture {
  constructor(image) {
    this.image = image;
    this.element = new Image();
    this.element.alt = "Image to label";
    this.element.draggable = false;
    this.element.dataset.image = image;
    this.status = "new"; // "loading", "ready", "broken"
    this.settled = new Promise((done) => {
      this.settle = done;
    });
  }

  async load(wanted) {
    this.status = "loading";
    for (let pause = 500; this.status === "loading"; pause = Math.min(2 * pause, 2000)) {
      try {
        const response = await fetch(api.viewOf(this.image), { credentials: "same-origin" });
        if (response.status === 404) this.status = "broken";
        if (response.status === 401) window.dispatchEvent(new Event("signed-out"));
        if (response.ok) await this.decode(await response.blob());
      } catch { /* no connection: again */ }
      if (this.status !== "loading") break;
      await sleep(pause);
      if (!wanted(this)) this.status = "new";
    }
    if (this.status !== "new") this.settle();
  }

  async decode(blob) {
    this.element.src = URL.createObjectURL(blob);
    try {
      await this.element.decode();
      this.status = "ready";
    } catch {
      this.status = "broken";
    }
  }

  release() {
    URL.revokeObjectURL(this.element.src);
  }
}

export class Prefetch extends EventTarget {
  /** `annotator()`: who labels; `busy()`: images that must not be offered now (shown, or answered and not sent). */
  constructor(annotator, busy) {
    super();
    this.annotator = annotator;
    this.busy = busy;
    this.queue = []; // offers, next first
    this.pictures = new Map(); // image -> Picture, least recently used first
    this.broken = new Set();
    this.phase = null;
    this.waiting = null; // where there is nothing to do: who holds what is left
    this.was = null; // the name until now, whose images are given back
    this.trouble = null;
    this.asking = null;
    this.later = 0; // timer of the next try
    this.taken = new Set(); // images shown since the last question
    this.stamp = 0; // grows when what is held is thrown away
    this.begun = false; // nothing is asked for before it is known who labels
  }

  begin() {
    this.begun = true;
    return this.fill();
  }

  /** Asks for more offers when few are left, and loads their pictures. */
  fill() {
    if (!this.begun) return null;
    this.pump();
    if (this.queue.length >= AHEAD) return this.asking;
    this.asking ??= this.ask().finally(() => {
      this.asking = null;
    });
    return this.asking;
  }

  /** Has the offers made again, by the newest model, but for the next few. */
  async renew() {
    if (!this.begun) return null;
    await this.asking;
    this.asking ??= this.ask(FIRM).finally(() => {
      this.asking = null;
    });
    return this.asking;
  }

  /** Asks for offers after the first `keep` ones, in the place of those that are held beyond. */
  async ask(keep = AHEAD) {
    const stamp = this.stamp;
    const images = this.queue.map((offer) => offer.image);
    const old = new Set(images.slice(keep));
    const have = [...new Set([...images.slice(0, keep), ...this.busy(), ...this.broken])];
    this.taken = new Set();
    try {
      const answer = await api.next(this.annotator(), AHEAD - images.length + old.size, have.slice(0, MOST_HELD), this.was);
      if (stamp !== this.stamp) return;
      this.queue = this.queue.filter((offer) => !old.has(offer.image));
      const held = new Set([...have, ...this.busy(), ...this.taken, ...this.queue.map((offer) => offer.image)]);
      this.queue.push(...answer.offers.filter((offer) => !held.has(offer.image) && held.add(offer.image)));
      this.phase = answer.phase;
      this.waiting = answer.waiting ?? null;
      this.was = null;
      this.trouble = null;
    } catch (error) {
      this.trouble = error;
      clearTimeout(this.later);
      this.later = setTimeout(() => this.fill(), 1500);
    }
    this.pump();
    this.dispatchEvent(new Event("change"));
  }

  picture(image) {
    const picture = this.pictures.get(image) ?? new Picture(image);
    this.pictures.delete(image);
    this.pictures.set(image, picture);
    return picture;
  }

  /** Loads the shown image first, then the queue in its order, a few at a time. */
  pump() {
    const order = [...this.shown ?? [], ...this.queue.map((offer) => offer.image)];
    const pictures = order.map((image) => this.picture(image));
    let loading = [...this.pictures.values()].filter((picture) => picture.status === "loading").length;
    for (const picture of pictures) {
      if (loading >= LOADS) break;
      if (picture.status !== "new") continue;
      loading += 1;
      picture.load((it) => this.wants(it.image)).then(() => this.loaded(picture));
    }
    this.trim(new Set(order));
  }

  wants(image) {
    return (this.shown ?? []).includes(image) || this.queue.some((offer) => offer.image === image);
  }

  loaded(picture) {
    if (picture.status === "broken") {
      this.broken.add(picture.image);
      this.pictures.delete(picture.image);
      this.drop([picture.image]);
      this.dispatchEvent(new CustomEvent("broken", { detail: picture.image }));
    }
    this.fill();
  }

  trim(needed) {
    let spare = this.pictures.size - needed.size - KEPT;
    for (const [image, picture] of this.pictures) {
      if (spare <= 0) break;
      if (needed.has(image)) continue;
      picture.release();
      this.pictures.delete(image);
      spare -= 1;
    }
  }

  /** How many images can be shown without the server, the shown one included. */
  loadedImages() {
    const images = new Set([...this.shown ?? [], ...this.queue.map((offer) => offer.image)]);
    return [...images].filter((image) => this.pictures.get(image)?.status === "ready").length;
  }

  /** The next offer, or null. */
  take() {
    const offer = this.queue.shift() ?? null;
    if (offer) this.taken.add(offer.image);
    return offer;
  }

  putBack(offer) {
    this.queue.unshift(offer);
  }

  drop(images) {
    const gone = new Set(images);
    this.queue = this.queue.filter((offer) => !gone.has(offer.image));
  }

  /** Forgets the offers, after something changed what should be offered. */
  clear() {
    this.stamp += 1;
    this.queue = [];
    this.asking = null;
  }
}
