// What the server says about the project, asked again while something happens.

import * as api from "./api.js";

const SOON = 1200; // milliseconds after an answer was sent
const BUSY = 2000; // while work is done behind the page
const CALM = 6000;

export class ProjectState extends EventTarget {
  constructor(annotator) {
    super();
    this.annotator = annotator;
    this.data = null;
    this.trouble = null;
    this.outbox = null;
    this.sent = []; // {at, counts}: acknowledged, but not yet in `data`
    this.timer = 0;
    document.addEventListener("visibilitychange", () => document.hidden || this.soon(0));
  }

  follow(outbox) {
    this.outbox = outbox;
    outbox.addEventListener("sent", ({ detail }) => {
      const at = performance.now();
      this.sent.push(...detail.sent.map(({ counts }) => ({ at, counts })));
      this.soon(SOON);
    });
  }

  /** Labels done, with those that the server has not counted yet. */
  get done() {
    const sum = (entries) => entries.reduce((total, entry) => total + entry.counts, 0);
    return Math.max(0, (this.data?.done ?? 0) + sum(this.sent) + sum(this.outbox?.waiting ?? []));
  }

  className(id) {
    return this.data?.classes.find((cls) => cls.id === id)?.name ?? `class ${id}`;
  }

  async refresh() {
    clearTimeout(this.timer);
    const asked = performance.now();
    try {
      this.data = await api.state(this.annotator());
      this.sent = this.sent.filter((entry) => entry.at > asked);
      this.trouble = null;
    } catch (error) {
      this.trouble = error;
    }
    this.dispatchEvent(new Event("change"));
    this.soon(this.data?.work.length || this.data?.model?.training ? BUSY : CALM);
  }

  /** Asks within so many milliseconds; not while the page is hidden. */
  soon(milliseconds) {
    const due = performance.now() + milliseconds;
    if (this.due > performance.now() && this.due < due) return;
    clearTimeout(this.timer);
    this.due = due;
    this.timer = setTimeout(() => document.hidden || this.refresh(), milliseconds);
  }
}
