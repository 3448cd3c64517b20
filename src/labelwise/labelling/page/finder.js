// Finding a class by typing: a combobox over all classes.

import { open } from "./dialogs.js";
import { $, count, el } from "./dom.js";

const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

/** Classes that hold the text: those that begin with it first, then those with a word that does. */
export function matching(classes, text) {
  const sought = plain(text.trim());
  const rank = ({ name }) => {
    const own = plain(name);
    if (own.startsWith(sought)) return 0;
    if (own.split(/[^\p{L}\p{N}]+/u).some((word) => word.startsWith(sought))) return 1;
    return own.includes(sought) ? 2 : 3;
  };
  return classes.map((cls, i) => ({ cls, i, rank: rank(cls) })).filter((item) => item.rank < 3)
    .sort((a, b) => a.rank - b.rank || a.i - b.i).map((item) => item.cls);
}

export class Finder {
  /** `choose(id, stamp)` gets the class. */
  constructor({ state, choose }) {
    Object.assign(this, { state, choose });
    this.found = [];
    this.at = 0;
    $("find-text").addEventListener("input", () => this.search());
    $("find-text").addEventListener("keydown", (event) => this.key(event));
    $("find-list").addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.take(Number(option.dataset.at), event.timeStamp);
    });
  }

  show() {
    open("finder");
    $("find-text").value = "";
    this.search();
    $("find-text").focus();
  }

  search() {
    this.found = matching(this.state.data?.classes ?? [], $("find-text").value);
    this.at = 0;
    const keys = new Map((this.state.data?.classes ?? []).slice(0, 9).map((cls, i) => [cls.id, i + 1]));
    $("find-list").replaceChildren(...this.found.map((cls, i) => el("li", { role: "option", id: `find-${i}`, data: { at: i } },
      el("span", { className: "name" }, cls.name), keys.has(cls.id) ? el("kbd", {}, String(keys.get(cls.id))) : null)));
    const number = count(this.found.length, "class", "classes");
    $("find-count").textContent = this.found.length ? `${number}. Enter takes the marked one.` : "No class has this in its name.";
    this.mark();
  }

  mark() {
    for (const [i, option] of [...$("find-list").children].entries()) option.setAttribute("aria-selected", i === this.at);
    const marked = $("find-list").children[this.at];
    if (marked) {
      marked.scrollIntoView({ block: "nearest" });
      $("find-text").setAttribute("aria-activedescendant", marked.id);
    } else $("find-text").removeAttribute("aria-activedescendant");
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && this.found.length) {
      this.at = (this.at + step + this.found.length) % this.found.length;
      this.mark();
    } else if (event.key === "Enter" && !event.isComposing && !event.repeat) this.take(this.at, event.timeStamp);
    else return;
    event.preventDefault();
  }

  take(at, stamp) {
    const cls = this.found[at];
    if (!cls) return;
    $("finder").close();
    this.choose(cls.id, stamp);
  }
}
