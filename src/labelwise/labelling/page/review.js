// Disagreements: who said what of an image; a key decides.

import * as api from "./api.js";
import { busy, open, tell } from "./dialogs.js";
import { $, count, el } from "./dom.js";
import { keyOf } from "./keys.js";

export class Review {
  constructor({ session, state, outbox, annotator }) {
    Object.assign(this, { session, state, outbox, annotator });
    this.items = [];
    $("review").addEventListener("keydown", (event) => this.key(event));
    $("review-classes").addEventListener("click", (event) => {
      const button = event.target.closest("[data-class]");
      if (button) this.decide(Number(button.dataset.class));
    });
    $("review-skip").addEventListener("click", () => this.later());
  }

  async show() {
    open("review");
    this.items = [];
    this.draw();
    await busy("review", async () => {
      await this.outbox.flush();
      const { items } = await api.review(this.annotator());
      this.items = items;
      tell("review", "");
    }, "Loading...");
    this.draw();
  }

  draw() {
    const item = this.items[0];
    $("review-body").hidden = !item;
    $("review-none").hidden = Boolean(item);
    if (!item) {
      $("review-picture").replaceChildren();
      return;
    }
    this.began = performance.now();
    $("review-left").textContent = `${count(this.items.length, "disagreement")} left`;
    $("review-picture").replaceChildren(el("img", { src: api.viewOf(item.image), alt: "Image that people disagree on" }));
    $("review-answers").replaceChildren(...item.answers.map((answer) => el("li", {},
      el("b", {}, answer.annotator), ` said ${this.state.className(answer.class)}`)));
    const said = new Set(item.answers.map((answer) => answer.class));
    const classes = this.state.data.classes.map((cls, i) => [cls, i]).filter(([{ id }, i]) => i < 9 || said.has(id));
    $("review-classes").replaceChildren(...classes.map(([{ id, name }, i]) => el("button", {
      type: "button", className: said.has(id) ? "class suggested" : "class", data: { class: id },
    }, i < 9 ? el("kbd", { "aria-hidden": "true" }, String(i + 1)) : null, el("span", { className: "name" }, name))));
    const words = item.answers.map((answer) => `${answer.annotator} said ${this.state.className(answer.class)}`);
    tell("review", [this.said, ...words].filter(Boolean).join(", "));
    this.said = "";
    if (!$("review").contains(document.activeElement) || document.activeElement === document.body) $("review-title").focus();
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
    const item = this.items.shift();
    const seconds = Math.round(performance.now() - this.began) / 1000;
    this.session.record({ image: item.image, purpose: "review", round: null }, "label", cls, seconds);
    this.said = `Decided: ${this.state.className(cls)}`;
    this.move();
  }

  later() {
    this.items.shift();
    this.move();
  }

  move() {
    this.draw();
    $("review-title").focus();
  }
}
