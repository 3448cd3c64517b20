// Which image is shown, what was answered, and the way back.

import * as api from "./api.js";

const COUNTED = new Set(["test", "typical", "picked", "random", "grid"]); // a first label, one more of the budget

export class Session extends EventTarget {
  constructor({ prefetch, outbox, clock, annotator }) {
    super();
    Object.assign(this, { prefetch, outbox, clock, annotator });
    this.current = null; // {offer, picture, seen: the suggestion was visible}
    this.past = []; // answers not undone, oldest first
    this.undone = new Set();
    prefetch.addEventListener("change", () => this.current || this.next());
    prefetch.addEventListener("broken", (event) => {
      this.tell("refused", { text: "An image could not be read and was passed over." });
      if (this.current?.offer.image === event.detail) this.next();
    });
    outbox.addEventListener("sent", ({ detail }) => {
      this.refuse(detail.refused);
      if (!this.current || prefetch.queue.length < 4) prefetch.fill(); // what was sent may open the next phase
    });
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** Shows the next offer; `stamp` is the time of the key that asked for it. */
  next(stamp = null) {
    const offer = this.prefetch.take();
    if (offer) this.present(offer, stamp);
    else if (this.current || stamp !== null) {
      this.current = null;
      this.prefetch.shown = [];
      this.tell("show", { stamp: null });
      this.prefetch.fill();
    } else this.tell("show", { stamp: null });
  }

  present(offer, stamp) {
    const picture = this.prefetch.picture(offer.image);
    this.current = { offer, picture, seen: false };
    this.prefetch.shown = [offer.image];
    this.clock.restart();
    this.tell("show", { stamp });
    if (!this.ready()) {
      picture.settled.then(() => {
        if (this.current?.picture !== picture || !this.ready()) return;
        this.clock.restart();
        this.tell("show", { stamp: null });
      });
    }
    this.prefetch.fill();
  }

  ready() {
    return this.current?.picture.status === "ready";
  }

  /** Answers the shown image and moves on; false while no image can be seen. */
  answer(kind, cls, stamp) {
    if (!this.ready()) return false;
    const { offer, seen } = this.current;
    this.record(offer, kind, cls, this.clock.seconds(), { seen });
    this.next(stamp);
    return true;
  }

  /** Queues one answer, also for the grid and the review, and keeps it for undo. */
  record(offer, kind, cls, seconds, { seen = false, batch = null } = {}) {
    const { image, purpose, round = null } = offer;
    const event = {
      uuid: api.uuid(), kind, image, class: kind === "label" ? cls : null, undoes: null, purpose, round, seconds,
      suggested: offer.suggestion?.class ?? null, shown: seen,
    };
    const counts = kind === "label" && COUNTED.has(purpose) ? 1 : 0;
    this.past.push({ ...event, offer, batch, counts });
    this.outbox.add(this.annotator(), event, counts);
    return event;
  }

  /** Takes the last answer back and returns to its image; a grid's answers are taken back together. */
  async undo() {
    if (!this.past.length && !(await this.recollect())) {
      this.tell("said", "There is nothing to undo.");
      return;
    }
    const last = this.past.pop();
    const taken = [last];
    while (last.batch && this.past.at(-1)?.batch === last.batch) taken.push(this.past.pop());
    for (const answer of taken) this.takeBack(answer);
    if (taken.length > 1) {
      this.tell("said", `${taken.length} answers of the grid undone.`);
      this.tell("show", { stamp: null });
      return;
    }
    this.tell("undone", last);
    this.return(last);
  }

  takeBack(answer) {
    this.undone.add(answer.uuid);
    const { image, purpose, round } = answer;
    const event = {
      uuid: api.uuid(), kind: "undo", image, class: null, undoes: answer.uuid, purpose, round, seconds: 0,
      suggested: null, shown: false,
    };
    this.outbox.add(this.annotator(), event, -(answer.counts ?? 0));
  }

  return({ image, purpose, round, offer, given }) {
    this.prefetch.drop([image]);
    if (this.current && this.current.offer.image !== image) this.prefetch.putBack(this.current.offer);
    const back = { image, purpose, round, why: "You went back to this image.", suggestion: null, given: given ?? null };
    this.present(offer ?? back, null);
  }

  /** Reads this person's answers back from the server, as after a reload; true when there are some. */
  async recollect() {
    await this.outbox.flush();
    if (this.outbox.size) return false;
    try {
      const { items } = await api.history(this.annotator());
      const known = new Set([...this.undone, ...this.past.map((answer) => answer.uuid)]); // some were given meanwhile
      this.past.unshift(...items.filter((item) => !known.has(item.uuid)).reverse().map((item) => ({
        ...item, counts: item.kind === "label" && COUNTED.has(item.purpose) ? 1 : 0,
      })));
    } catch { /* without a connection there is no more to undo */ }
    return this.past.length > 0;
  }

  refuse(refused) {
    if (!refused.length) return;
    const uuids = new Set(refused.map((item) => item.uuid));
    const review = this.past.some((answer) => answer.uuid === refused[0].uuid && answer.purpose === "review");
    this.past = this.past.filter((answer) => !uuids.has(answer.uuid));
    const more = refused.length > 1 ? ` (and ${refused.length - 1} more)` : "";
    this.tell("refused", { text: `Not accepted${more}: ${refused[0].reason}`, review });
  }

  /** Lets go of images that were asked again, after the classes changed: their question may be no more. */
  dismissAgain() {
    const asked = [...this.prefetch.queue, this.current?.offer].filter((offer) => offer?.purpose === "again");
    this.dismiss(asked.map((offer) => offer.image));
  }

  /** Removes images that got their label elsewhere (grid, review) from what is shown and held. */
  dismiss(images) {
    this.prefetch.drop(images);
    if (this.current && images.includes(this.current.offer.image)) this.next();
  }
}
