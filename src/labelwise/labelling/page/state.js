// What the server says about the project, asked again while something happens.

import * as api from "./api.js";
import { moved, news } from "./digits.js";

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
    this.sent = []; // {at, counts}: acknowledged, but not yet in `counted`
    this.counted = 0; // the server's count, as far as it is known which of our labels are in it
    this.listed = null; // the classes and the last merge as this page showed them last
    this.names = new Map(); // class id -> its last name, also of one that was merged
    this.turn = 0; // grows with each question; answers to older ones are out of date
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

  /** Labels done: what the server counted while none of ours was on its way, and ours since. Never one twice. */
  get done() {
    const sum = (entries) => entries.reduce((total, entry) => total + entry.counts, 0);
    return Math.max(0, this.counted + sum(this.sent) + sum(this.outbox?.waiting ?? []));
  }

  className(id) {
    const { merge } = this.data ?? {};
    return this.names.get(id) ?? (merge?.class === id ? merge.name : "a class merged since");
  }

  /** The class that stands for one now, if it was merged just now; null where the page does not know. */
  holding(id) {
    const { classes, merge } = this.data;
    const now = merge?.class === id ? merge.into : id;
    return classes.some((cls) => cls.id === now) ? now : null;
  }

  /** Takes the classes over after a change that was made here: no news to whoever made it. */
  ownClasses(classes) {
    this.turn += 1;
    this.data.classes = classes;
    this.list();
  }

  /** Notes the classes as they are; returns what somebody else has changed: {text, keys: [ids whose digit changed]}. */
  list() {
    const { classes, merge = null } = this.data;
    const before = this.listed;
    this.listed = { classes: classes.map(({ id, name }) => ({ id, name })), merge };
    for (const { id, name } of classes) this.names.set(id, name);
    if (!before) return { text: "", keys: [] };
    return { text: news(before.classes, classes, merge, before.merge), keys: moved(before.classes, classes).map(({ id }) => id) };
  }

  async refresh() {
    clearTimeout(this.timer);
    this.due = 0; // else the next question, sooner than one that is not asked any more, would not be asked either
    const turn = ++this.turn;
    const asked = performance.now();
    let unsure = this.outbox?.unsettled() ?? false;
    try {
      const data = await api.state(this.annotator());
      if (turn !== this.turn) return; // a newer question is on its way, or the classes were changed here
      const first = !this.data;
      this.data = data;
      this.trouble = null;
      unsure ||= (this.outbox?.unsettled() ?? false) || this.sent.some((entry) => entry.at > asked);
      if (first || !unsure) {
        this.counted = data.done;
        this.sent = [];
      } else this.soon(SOON);
      const found = this.list();
      if (found.text) this.dispatchEvent(new CustomEvent("classes", { detail: found }));
    } catch (error) {
      if (turn !== this.turn) return;
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
