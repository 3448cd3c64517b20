// The classes: add, rename, merge. What a change of meaning touches is offered again by the server.

import * as api from "./api.js";
import { busy, open, tell } from "./dialogs.js";
import { $, count, el } from "./dom.js";

export class Classes {
  /** `changed()` is called after a change: other images may be offered now. */
  constructor({ state, outbox, annotator, changed }) {
    Object.assign(this, { state, outbox, annotator, changed });
    this.editing = null; // {id, kind: "rename" or "merge"}
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

  draw() {
    const list = this.state.data?.classes ?? [];
    $("class-list").replaceChildren(...list.map((cls, i) => el("li", {},
      el("div", { className: "class-row" },
        i < 9 ? el("kbd", {}, String(i + 1)) : el("span", { className: "nokey" }),
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
    const into = el("select", {}, ...list.filter(({ id }) => id !== cls.id).map(({ id, name }) => el("option", { value: id }, name)));
    const again = el("input", { type: "checkbox" });
    return this.framed([
      el("label", {}, `Merge ${cls.name} into`, into), el("label", { className: "check" }, again, "Ask again for its images"),
    ], "Merge", () => {
      const target = Number(into.value);
      this.send({ kind: "merge", class: cls.id, into: target, again: again.checked },
        `${cls.name} is part of ${this.state.className(target)} now`);
    });
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

  send(change, said) {
    return busy("classes-dialog", async () => {
      await this.outbox.flush();
      const answer = await api.classes({ annotator: this.annotator(), uuid: api.uuid(), ...change });
      this.state.data.classes = answer.classes;
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
