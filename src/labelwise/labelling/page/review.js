// Disagreements: who said what of an image; a key decides.

import * as api from "./api.js";
import { busy, open, tell } from "./dialogs.js";
import { $, count, el } from "./dom.js";
import { keyOf } from "./keys.js";

const SWAPPED = 1000; // milliseconds in which a key meant the image that was here before

export class Review {
  constructor({ session, state, outbox, annotator }) {
    Object.assign(this, { session, state, outbox, annotator });
    this.items = [];
    this.put = new Set(); // images that were put off
    this.mine = new Map(); // uuid of a decision -> image
    this.failed = false;
    this.version = null; // of the project, when the list was asked for
    this.swapped = -SWAPPED; // when somebody else's decision took the image away
    this.said = ""; // what happened last
    $("review").addEventListener("keydown", (event) => this.key(event));
    $("review-classes").addEventListener("click", (event) => {
      const button = event.target.closest("[data-class]");
      if (button) this.decide(Number(button.dataset.class));
    });
    $("review-skip").addEventListener("click", () => this.later());
    $("review-again").addEventListener("click", () => this.load());
    outbox.addEventListener("sent", ({ detail }) => this.refused(detail.refused));
    state.addEventListener("change", () => this.follow());
  }

  show() {
    open("review");
    this.items = [];
    this.put.clear();
    this.mine.clear();
    this.say("");
    return this.load();
  }

  /** Asks for the list again; what is shown stays where it is still to be decided. */
  load() {
    this.failed = false;
    if (!this.items.length) this.draw("Loading...");
    return busy("review", async () => {
      try {
        await this.outbox.flush();
        if (this.outbox.trouble) throw this.outbox.trouble;
        const { items } = await api.review(this.annotator());
        this.version = this.state.data.version;
        this.take(items);
      } catch (error) {
        this.failed = true;
        this.items = [];
        this.draw(`${error.message} The disagreements cannot be loaded now.`);
      }
    });
  }

  take(items) {
    const shown = this.items[0];
    const open_ = items.filter(({ image }) => !this.put.has(image) && ![...this.mine.values()].includes(image));
    const same = open_.find(({ image }) => image === shown?.image);
    this.items = same ? [same, ...open_.filter((item) => item !== same)] : open_;
    if (same && JSON.stringify(same) === JSON.stringify(shown)) {
      this.left();
      return;
    }
    if (shown && !same) {
      this.swapped = performance.now();
      this.say("Somebody else has decided the image that was here.");
    }
    this.draw();
  }

  /** Others decide too: the list follows what they did, and a server that answers again. */
  follow() {
    if (!$("review").open || $("review").hasAttribute("aria-busy") || this.state.trouble) return;
    if (this.failed || this.state.data.version !== this.version) this.load();
  }

  /** A decision that was not taken, since somebody else had decided: the list says so, and is asked for again. */
  refused(refused) {
    const found = refused.find(({ uuid }) => this.mine.has(uuid));
    for (const { uuid } of refused) this.mine.delete(uuid);
    if (!found || !$("review").open) return;
    this.say(`Not accepted: ${found.reason.replace(/[.\s]*$/, ".")}`, true);
    this.draw();
    this.version = null; // asked again with the next state, at the latest
    this.load();
  }

  left() {
    $("review-left").textContent = `${count(this.items.length, "disagreement")} left`;
  }

  draw(none = "There is no disagreement to decide.") {
    const [item] = this.items;
    $("review-body").hidden = !item;
    $("review-none").hidden = Boolean(item);
    $("review-none").textContent = none;
    $("review-again").hidden = !this.failed;
    if (!item) {
      $("review-picture").replaceChildren();
      tell("review", [this.said, none].filter(Boolean).join(" "));
      return;
    }
    this.began = performance.now();
    this.left();
    $("review-picture").replaceChildren(el("img", { src: api.viewOf(item.image), alt: "Image that people disagree on" }));
    $("review-answers").replaceChildren(...item.answers.map((answer) => el("li", {},
      el("b", {}, answer.annotator), ` said ${this.state.className(answer.class)}`)));
    const said = new Set(item.answers.map((answer) => answer.class));
    const classes = this.state.data.classes.map((cls, i) => [cls, i]).filter(([{ id }, i]) => i < 9 || said.has(id));
    $("review-classes").replaceChildren(...classes.map(([{ id, name }, i]) => el("button", {
      type: "button", className: said.has(id) ? "class suggested" : "class", data: { class: id },
    }, i < 9 ? el("kbd", { "aria-hidden": "true" }, String(i + 1)) : null, el("span", { className: "name" }, name))));
    const words = item.answers.map((answer) => `${answer.annotator} said ${this.state.className(answer.class)}`);
    tell("review", [this.said, words.join(", ")].filter(Boolean).join(" "));
    if (!$("review").contains(document.activeElement) || document.activeElement === document.body) $("review-title").focus();
  }

  /** What happened last stands over the image until the next decision. */
  say(text, bad = false) {
    this.said = text;
    $("review-said").textContent = text;
    $("review-said").classList.toggle("bad", bad);
  }

  key(event) {
    const key = keyOf(event);
    if (event.repeat || !this.items.length) return;
    const cls = /^[1-9]$/.test(key ?? "") ? this.state.data.classes[Number(key) - 1] : null;
    if (cls) this.decide(cls.id);
    else if (key === "s") this.later();
    else return;
    event.preventDefault();
  }

  decide(cls) {
    if (performance.now() - this.swapped < SWAPPED) return;
    const item = this.items.shift();
    const seconds = Math.round(performance.now() - this.began) / 1000;
    const { uuid } = this.session.record({ image: item.image, purpose: "review", round: null }, "label", cls, seconds);
    this.mine.set(uuid, item.image);
    this.say(`Decided: ${this.state.className(cls)}.`);
    this.move();
  }

  later() {
    this.put.add(this.items.shift().image);
    this.say("");
    this.move();
  }

  move() {
    this.draw();
    $("review-title").focus();
  }
}
