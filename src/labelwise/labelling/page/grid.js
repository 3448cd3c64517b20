// A grid of images that the model takes for one class: Enter accepts all that are not marked.

import * as api from "./api.js";
import { Clock } from "./clock.js";
import { busy, open, tell } from "./dialogs.js";
import { $, chance, count, el } from "./dom.js";
import { keyOf } from "./keys.js";

const SHOWN = 24;
const MOST = 100; // images in one request, which the server bounds
const OUT = "out"; // left out: gets no answer

export class Grid {
  constructor({ session, state, outbox, annotator }) {
    Object.assign(this, { session, state, outbox, annotator });
    this.items = [];
    this.marks = new Map(); // image -> OUT or another class
    this.left = new Map(); // class -> images that were left out: not shown for it again
    this.clock = new Clock();
    $("grid-class").addEventListener("change", () => this.load());
    $("grid-accept").addEventListener("click", () => this.accept());
    $("grid-items").addEventListener("click", (event) => {
      const tile = event.target.closest("button");
      if (tile) this.toggle(Number(tile.dataset.image));
    });
    $("grid").addEventListener("keydown", (event) => this.key(event));
    $("grid").addEventListener("close", () => { this.items = []; });
  }

  /** What is shown: it stays with us while it is. */
  images() {
    return this.items.map(({ image }) => image);
  }

  get cls() {
    return Number($("grid-class").value);
  }

  show() {
    const classes = this.state.data?.classes ?? [];
    const options = () => classes.map(({ id, name }, i) => el("option", { value: id }, i < 9 ? `${i + 1}  ${name}` : name));
    const before = $("grid-class").value;
    $("grid-class").replaceChildren(...options());
    if (classes.some(({ id }) => String(id) === before)) $("grid-class").value = before;
    $("grid-exception").replaceChildren(el("option", { value: OUT }, "are left out"), ...options().map((option) => {
      option.textContent = `get: ${option.textContent.replace(/^\d {2}/, "")}`;
      return option;
    }));
    open("grid");
    return this.load();
  }

  load(said = "") {
    this.items = [];
    this.marks.clear();
    this.draw();
    return busy("grid", async () => {
      const room = Math.max(0, Math.min(SHOWN, this.state.data.goal - this.state.done));
      const unwanted = new Set([...this.outbox.images(), ...this.left.get(this.cls) ?? []]);
      const { items } = await api.grid(this.annotator(), this.cls, Math.min(MOST, room + unwanted.size));
      this.items = items.filter((item) => !unwanted.has(item.image)).slice(0, room);
      this.clock.restart();
      this.draw();
      tell("grid", [said, this.items.length ? "" : this.none(room)].filter(Boolean).join(" "));
      ($("grid-items").querySelector("button") ?? $("grid-class")).focus();
    }, said || "Loading the grid...");
  }

  /** Why there is no image for this class. */
  none(room) {
    const { model, no_model: why } = this.state.data;
    const name = this.state.className(this.cls);
    if (!room) return "The budget is spent: raise it in the settings to label more.";
    if (!model) return `Nothing is predicted as ${name}: your labels have not trained a model yet. ${why ?? ""}`.trim();
    if (model.age_seconds === null) return "The model from before the last start is trained again now; the grid comes with it.";
    return `The model takes no other unlabelled image for ${name} now.`;
  }

  draw() {
    for (const id of ["grid-hint", "grid-fate", "grid-accept"]) $(id).hidden = !this.items.length;
    $("grid-items").replaceChildren(...this.items.map((item, i) => this.tile(item, i)));
    this.sum();
  }

  tile({ image, probability }, i) {
    const tile = el("button", { type: "button", className: "tile", tabIndex: i ? -1 : 0, data: { image } },
      el("img", { src: api.thumbOf(image), alt: "", loading: "eager" }), el("span", { className: "chance" }, chance(probability)),
      el("span", { className: "mark" }));
    this.paint(tile, i);
    return tile;
  }

  /** Shows a tile's mark, and says it. */
  paint(tile, i) {
    const mark = this.marks.get(Number(tile.dataset.image));
    const text = mark === undefined ? "" : mark === OUT ? "left out" : this.state.className(mark);
    tile.classList.toggle("marked", mark !== undefined);
    tile.querySelector(".mark").textContent = text;
    tile.setAttribute("aria-pressed", mark !== undefined);
    const fate = mark === undefined ? `will be ${this.state.className(this.cls)}` : `exception: ${text}`;
    tile.setAttribute("aria-label", `Image ${i + 1} of ${this.items.length}, ${fate}`);
  }

  /** A click marks an image as an exception, or takes the mark away. */
  toggle(image, mark = null) {
    if (mark === null && this.marks.has(image)) this.marks.delete(image);
    else {
      const chosen = $("grid-exception").value;
      const fate = mark ?? (chosen === OUT ? OUT : Number(chosen));
      if (fate === this.cls) this.marks.delete(image);
      else this.marks.set(image, fate);
    }
    const tiles = [...$("grid-items").children];
    const i = tiles.findIndex((tile) => Number(tile.dataset.image) === image);
    this.paint(tiles[i], i);
    this.sum();
  }

  sum() {
    const taken = this.items.filter(({ image }) => !this.marks.has(image)).length;
    $("grid-accept").disabled = !this.items.length;
    $("grid-accept").textContent = taken === this.items.length
      ? `Accept all ${taken || ""} as ${this.state.className(this.cls)} (Enter)`
      : `Accept ${taken} as ${this.state.className(this.cls)}, ${count(this.marks.size, "exception")} (Enter)`;
  }

  key(event) {
    const tile = event.target.closest?.(".tile");
    if (event.key === "Enter" && (tile || event.target === $("grid"))) {
      event.preventDefault();
      if (!event.repeat) this.accept();
      return;
    }
    if (!tile) return;
    const tiles = [...$("grid-items").children];
    const digit = /^[1-9]$/.test(keyOf(event) ?? "") ? Number(keyOf(event)) : 0;
    const cls = this.state.data.classes[digit - 1];
    if (cls && !event.repeat) this.toggle(Number(tile.dataset.image), cls.id);
    const to = tiles.indexOf(tile) + this.step(event.key, tiles);
    if (tiles[to] && tiles[to] !== tile) {
      tile.tabIndex = -1;
      tiles[to].tabIndex = 0;
      tiles[to].focus();
      event.preventDefault();
    }
  }

  step(key, tiles) {
    const top = tiles[0].offsetTop;
    const columns = tiles.filter((tile) => tile.offsetTop === top).length;
    return { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[key] ?? 0;
  }

  /** Answers for all that is shown; exceptions get their class, or nothing when they are left out. */
  accept() {
    if (!this.items.length || $("grid").hasAttribute("aria-busy")) return;
    const seconds = Math.round(1000 * this.clock.seconds() / this.items.length) / 1000;
    const batch = api.uuid();
    const labelled = [];
    for (const { image } of this.items) {
      const mark = this.marks.get(image) ?? this.cls;
      if (mark === OUT) {
        this.left.set(this.cls, (this.left.get(this.cls) ?? new Set()).add(image));
        continue;
      }
      const offer = { image, purpose: "grid", round: null, suggestion: { class: this.cls } };
      this.session.record(offer, "label", mark, seconds, { seen: true, batch });
      labelled.push(image);
    }
    this.session.dismiss(labelled);
    this.items = [];
    this.draw();
    const said = `${count(labelled.length, "image")} labelled. Undo (u) takes them back together.`;
    this.outbox.flush().then(() => this.load(said));
  }
}
