// The classes: add, rename, merge, take a merge back. What a change of meaning touches is offered again by the server.

import * as api from "./api.js";
import { busy, open, tell } from "./dialogs.js";
import { DIGITS, digits, moved } from "./digits.js";
import { $, count, el } from "./dom.js";
import { hush } from "./notes.js";

export class Classes {
  /** `changed()` is called after a change: other images may be offered now. */
  constructor({ state, outbox, annotator, changed }) {
    Object.assign(this, { state, outbox, annotator, changed });
    this.editing = null; // {id, kind: "rename" or "merge", merge: {into, again} once it is to be confirmed}
    this.drawn = "";
    state.addEventListener("change", () => this.follow());
    $("class-add").addEventListener("submit", (event) => {
      event.preventDefault();
      const name = $("class-name").value.trim();
      if (name) this.send({ kind: "add", name }, `Added: ${name}`);
    });
  }

  show() {
    this.editing = null;
    open("classes-dialog");
    this.draw();
    $("class-name").value = "";
  }

  /** Somebody else may change the list while it is open; a form that is being filled in stays. */
  follow() {
    const list = this.state.data?.classes ?? [];
    if (!$("classes-dialog").open || $("classes-dialog").hasAttribute("aria-busy")) return;
    if (this.editing && list.some(({ id }) => id === this.editing.id)) return;
    if (this.drawn !== this.words(list)) this.draw();
  }

  words(list) {
    return JSON.stringify([list, this.state.data?.merge ?? null]);
  }

  draw() {
    const list = this.state.data?.classes ?? [];
    this.drawn = this.words(list);
    this.drawMerge(this.state.data?.merge);
    $("class-list").replaceChildren(...list.map((cls, i) => el("li", {},
      el("div", { className: "class-row" },
        i < DIGITS ? el("kbd", {}, String(i + 1)) : el("span", { className: "nokey" }),
        el("span", { className: "name" }, cls.name),
        el("span", { className: "muted number" }, count(cls.count, "label")),
        this.button("Rename", cls, "rename"),
        list.length > 1 ? this.button("Merge", cls, "merge") : null),
      this.editing?.id === cls.id ? this.form(cls, list) : null)));
  }

  button(text, cls, kind) {
    const open = this.editing?.id === cls.id && this.editing.kind === kind;
    return el("button", {
      type: "button", className: "quiet", "aria-expanded": String(open), "aria-label": `${text} ${cls.name}`,
      onclick: () => {
        this.editing = open ? null : { id: cls.id, kind };
        this.draw();
        $("class-list").querySelector("form input, form select")?.focus();
      },
    }, text);
  }

  form(cls, list) {
    return this.editing.kind === "rename" ? this.renameForm(cls) : this.mergeForm(cls, list);
  }

  renameForm(cls) {
    const name = el("input", { type: "text", value: cls.name, required: true, maxLength: 100, autocomplete: "off" });
    const keep = radio("meaning", "Only the name changes: the labels stay", true);
    const again = radio("meaning", "The meaning changes: ask again for its images", false);
    return this.framed([el("label", {}, "New name", name), keep.label, again.label], "Rename", () => {
      const text = name.value.trim();
      if (text) this.send({ kind: "rename", class: cls.id, name: text, again: again.input.checked }, `${cls.name} is now ${text}`);
    });
  }

  mergeForm(cls, list) {
    if (this.editing.merge) return this.question(cls, list, this.editing.merge);
    const into = el("select", {}, ...list.filter(({ id }) => id !== cls.id).map(({ id, name }) => el("option", { value: id }, name)));
    const again = el("input", { type: "checkbox" });
    return this.framed([
      el("label", {}, `Merge ${cls.name} into`, into), el("label", { className: "check" }, again, "Ask again for its images"),
    ], "Merge...", () => this.ask({ into: Number(into.value), again: again.checked }));
  }

  /** A merge is confirmed, with the numbers as they are at the server now. */
  ask(merge) {
    return busy("classes-dialog", async () => {
      await this.outbox.flush();
      await this.state.refresh();
      if (this.state.trouble) throw this.state.trouble;
      this.editing.merge = merge;
      this.draw();
      $("merge-now")?.focus();
    });
  }

  question(cls, list, { into, again }) {
    const target = this.state.className(into);
    const { count: labels } = list.find(({ id }) => id === cls.id);
    const moves = moved(list, list.filter(({ id }) => id !== cls.id));
    const lines = [
      `${count(labels, "label")} of ${cls.name} will count as ${target}, whoever gave ${labels === 1 ? "it" : "them"}.`,
      moves.length ? `For everybody who labels here, keys change: ${digits(moves)}.` : "",
      again ? "Its images are asked again." : "",
      "The merge can be taken back here.",
    ].filter(Boolean);
    const no = el("button", { type: "button", onclick: () => this.stop() }, "Do not merge");
    const yes = el("button", { type: "submit", className: "main", id: "merge-now", "aria-describedby": "merge-words" }, "Merge");
    return el("form", {
      className: "edit",
      onsubmit: (event) => {
        event.preventDefault();
        this.send({ kind: "merge", class: cls.id, into, again }, `${cls.name} is part of ${target} now`);
      },
    }, el("h3", {}, `Merge ${cls.name} into ${target}?`), el("div", { id: "merge-words" }, ...lines.map((line) => el("p", {}, line))),
    el("div", { className: "row" }, no, yes));
  }

  stop() {
    this.editing = null;
    this.draw();
    $("class-name").focus();
  }

  /** The last merge that holds, and the way back. */
  drawMerge(merge) {
    $("class-merge").hidden = !merge;
    if (!merge) {
      $("class-merge").replaceChildren();
      return;
    }
    const { uuid, name, into_name: into } = merge;
    $("class-merge").replaceChildren(el("span", {}, `${name} was merged into ${into}.`), el("button", {
      type: "button", "aria-label": `Take the merge of ${name} into ${into} back`,
      onclick: () => this.send({ kind: "unmerge", undoes: uuid }, `${name} is a class of its own again, with its labels and its key`),
    }, "Take the merge back"));
  }

  framed(fields, text, act) {
    return el("form", {
      className: "edit",
      onsubmit: (event) => {
        event.preventDefault();
        act();
      },
    }, ...fields, el("button", { type: "submit", className: "main" }, text));
  }

  /** A change that is refused was asked of an old list: it is drawn again. */
  async post(change) {
    try {
      return await api.classes(change);
    } catch (error) {
      await this.state.refresh();
      this.editing = null;
      this.draw();
      throw error;
    }
  }

  send(change, said) {
    return busy("classes-dialog", async () => {
      await this.outbox.flush();
      const answer = await this.post({ annotator: this.annotator(), uuid: api.uuid(), ...change });
      hush(); // what others changed before has other keys now
      this.state.ownClasses(answer.classes);
      this.editing = null;
      $("class-name").value = "";
      this.draw();
      tell("classes-dialog", `${said}.`);
      if (!$("classes-dialog").contains(document.activeElement)) $("class-name").focus();
      this.changed();
    });
  }
}

function radio(name, text, checked) {
  const input = el("input", { type: "radio", name, checked });
  return { input, label: el("label", { className: "check" }, input, text) };
}
