// Answers on their way to the server. Each stays in localStorage, under a key of its own, until the server has
// acknowledged it, so neither a reload nor another tab can lose one; the same uuid twice is harmless.

import * as api from "./api.js";
import { forget, keysUnder, onForgotten, recall, remember } from "./memory.js";

const MOST = 200; // events a request; the server takes 500
const LONGEST = 15_000; // milliseconds between two tries

export class Outbox extends EventTarget {
  /** `project`: labels of one project must never reach another that is served at the same address later. */
  constructor(project) {
    super();
    this.start = `out.${project}.`;
    this.waiting = keysUnder(this.start).map((key) => recall(key)).filter((entry) => entry?.event?.uuid);
    for (const entry of this.waiting) entry.tried = true; // perhaps, before the reload
    this.waiting.sort((a, b) => a.order - b.order);
    this.trouble = null; // why the last try failed
    this.kept = true; // the browser keeps what waits
    this.pause = 500;
    this.timer = 0;
    this.sending = null;
    onForgotten((key) => {
      if (key.startsWith(this.start)) this.drop(new Set([key.slice(this.start.length)]));
    });
    window.addEventListener("online", () => this.flush());
    window.addEventListener("beforeunload", (event) => {
      if (this.waiting.length) event.preventDefault();
    });
  }

  get size() {
    return this.waiting.length;
  }

  /** Images with an answer that the server may not know yet. */
  images() {
    return this.waiting.map((entry) => entry.event.image);
  }

  /** Whether the server may hold an answer that it has not acknowledged. */
  unsettled() {
    return this.waiting.some((entry) => entry.tried);
  }

  /** `counts`: by how many this changes the number of labelled images. */
  add(annotator, event, counts = 0) {
    const last = this.waiting.at(-1)?.order ?? 0;
    const entry = { order: Math.max(Date.now(), last + 0.001), annotator, event, counts };
    this.waiting.push(entry);
    this.kept = remember(this.start + event.uuid, entry) && this.kept;
    this.changed();
    if (!this.timer) this.flush();
  }

  /** Sends all that waits; resolves when nothing waits or a try failed. */
  flush() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.sending ??= this.send().finally(() => {
      this.sending = null;
    });
    return this.sending;
  }

  async send() {
    await null; // several answers of one keystroke travel together
    while (this.waiting.length) {
      const { annotator } = this.waiting[0];
      const end = this.waiting.findIndex((entry, i) => i >= MOST || entry.annotator !== annotator);
      const batch = this.waiting.slice(0, end < 0 ? undefined : end);
      for (const entry of batch) entry.tried = true;
      try {
        const answer = await api.answers(annotator, batch.map((entry) => entry.event));
        this.settle(batch, answer);
      } catch (error) {
        this.retryLater(error);
        return;
      }
    }
  }

  settle(batch, { accepted = [], refused = [] }) {
    const settled = new Set([...accepted, ...refused.map((item) => item.uuid)]);
    const sent = batch.filter((entry) => settled.has(entry.event.uuid));
    if (!sent.length) throw new api.Trouble(0, "The server did not acknowledge the labels.");
    this.trouble = null;
    this.pause = 500;
    const good = new Set(accepted);
    const detail = { sent: sent.filter((entry) => good.has(entry.event.uuid)), refused };
    this.dispatchEvent(new CustomEvent("sent", { detail }));
    this.drop(settled);
  }

  drop(uuids) {
    for (const uuid of uuids) forget(this.start + uuid);
    this.waiting = this.waiting.filter((entry) => !uuids.has(entry.event.uuid));
    if (!this.waiting.length) this.trouble = null; // also when another tab has sent them
    this.changed();
  }

  retryLater(error) {
    this.trouble = error;
    this.timer = setTimeout(() => this.flush(), this.pause * (0.8 + 0.4 * Math.random()));
    this.pause = Math.min(this.pause * 2, LONGEST);
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }
}
