// Settings of the project (budget) and of this browser (name, suggestions, keys), and the first question for a name.

import * as api from "./api.js";
import { busy, open, tell } from "./dialogs.js";
import { $, count } from "./dom.js";
import { recall, remember } from "./memory.js";

const HERE = new Set(["127.0.0.1", "localhost", "[::1]"]);

export class Options {
  constructor() {
    this.name = recall("name");
    this.suggestions = recall("suggestions", true);
    this.keys = recall("keys", true);
  }

  get annotator() {
    return this.name ?? "me";
  }

  set(key, value) {
    this[key] = value;
    remember(key, value);
  }
}

export class Settings {
  /** `renamed()` after another name, `changed()` after anything else. */
  constructor({ options, state, outbox, renamed, changed }) {
    Object.assign(this, { options, state, outbox, renamed, changed });
    $("settings-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.save();
    });
    $("name-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.rename($("name").value);
      $("name-dialog").close();
    });
    $("name-dialog").addEventListener("close", () => this.options.name ?? this.options.set("name", "me"));
    $("rescan").addEventListener("click", () => this.rescan());
  }

  show() {
    open("settings");
    $("set-budget").value = this.state.data?.project.budget ?? "";
    $("set-name").value = this.options.annotator;
    $("set-suggestions").checked = this.options.suggestions;
    $("set-keys").checked = this.options.keys;
  }

  save() {
    return busy("settings", async () => {
      this.options.set("suggestions", $("set-suggestions").checked);
      this.options.set("keys", $("set-keys").checked);
      const given = $("set-name").value.trim();
      this.rename(given);
      $("set-name").value = this.options.annotator;
      const budget = Number($("set-budget").value);
      if (budget !== this.state.data?.project.budget) await api.settings({ budget });
      const other = given && given !== this.options.annotator;
      tell("settings", other ? `Saved. Somebody labels as ${this.options.annotator} already: so do you.` : "Saved.");
      this.changed();
    });
  }

  /** A name that somebody has in other capital letters is theirs: two spellings would be two people. */
  rename(text) {
    const given = text.trim() || "me";
    const known = (this.state.data?.people ?? []).map((person) => person.name);
    const same = known.find((name) => name.toLowerCase() === given.toLowerCase());
    const name = known.includes(given) ? given : same ?? given;
    if (name === this.options.name) return;
    const before = this.options.annotator;
    this.options.set("name", name);
    if (name !== before) this.renamed(before);
  }

  /** Asks for a name once, where labels may come from several people; waits for the answer. */
  askName() {
    if (this.options.name !== null || document.querySelector("dialog[open]")) return null;
    const { people, project } = this.state.data;
    const several = project.overlap > 1 || (people ?? []).some(({ name }) => name !== "me") || !HERE.has(location.hostname);
    if (!several) return null;
    open("name-dialog");
    $("name").focus();
    return new Promise((done) => { $("name-dialog").addEventListener("close", done, { once: true }); });
  }

  rescan() {
    return busy("settings", async () => {
      const { added, missing } = await api.rescan();
      tell("settings", `${count(added, "new image")}${missing ? `, ${missing} missing` : ""}.`);
      this.changed();
    }, "Looking for new images...");
  }
}
