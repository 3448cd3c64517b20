// The side panel: stop advice, learning curve, whether picking helps, people, and what went wrong.

import * as api from "./api.js";
import { curveTable, drawCurve } from "./curve.js";
import { focusStage } from "./dialogs.js";
import { $, accuracyParts, count, el, span } from "./dom.js";
import { recall, remember } from "./memory.js";

const NARROW = matchMedia("(max-width: 60rem)");

export class Panel {
  constructor({ state }) {
    this.state = state;
    this.drawn = "";
    this.files = null; // unreadable files, once asked for
    this.set(!NARROW.matches && recall("panel", true));
    NARROW.addEventListener("change", () => this.set(!NARROW.matches && recall("panel", true)));
    $("panel").addEventListener("keydown", (event) => {
      if (event.key === "Escape" && NARROW.matches) this.toggle();
    });
  }

  get open() {
    return !$("panel").hidden;
  }

  toggle() {
    this.set(!this.open);
    if (!NARROW.matches) remember("panel", this.open);
    if (this.open && NARROW.matches) $("panel-close").focus();
    else if (!this.open) focusStage();
  }

  /** On a narrow screen the panel covers the page, so the rest must not take the focus. */
  set(open) {
    $("panel").hidden = !open;
    document.body.classList.toggle("with-panel", open);
    for (const node of [$("header"), $("main")]) node.inert = open && NARROW.matches;
    for (const node of document.querySelectorAll("[data-do=panel]")) node.setAttribute("aria-expanded", open);
    this.draw();
  }

  draw() {
    const { data } = this.state;
    if (!data || !this.open) return;
    const steady = { ...data, version: 0, done: 0, seconds_per_label: 0, minutes_left: 0, work: 0, test: 0 };
    if (data.model) steady.model = { ...data.model, age_seconds: Math.round((data.model.age_seconds ?? 0) / 10) };
    const drawn = JSON.stringify([steady, this.files]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const open = new Set([...$("panel-body").querySelectorAll("details[open]")].map((node) => node.dataset.name));
    $("panel-body").replaceChildren(...[
      this.advice(data), this.curve(data), this.helping(data), this.consistency(data), this.people(data), this.model(data),
      this.unreadable(data), this.notUsed(data),
    ].filter(Boolean));
    for (const node of $("panel-body").querySelectorAll("details")) node.open = open.has(node.dataset.name);
  }

  advice({ advice }) {
    if (!advice) return null;
    const word = { "go on": "Go on", stop: "You can stop", done: "No next batch" }[advice.say] ?? "Cannot tell yet";
    return part("Stop or go on?", el("p", { className: `say ${advice.say.replaceAll(" ", "-")}` }, word), el("p", {}, advice.why));
  }

  curve({ curve, accuracy, test }) {
    const points = curve ?? [];
    if (!points.length) return part("Learning curve", el("p", { className: "muted" }, "It begins with the first model."));
    const [number, sample, interval] = accuracy ? accuracyParts(accuracy) : [];
    const words = accuracy ? [el("p", {}, el("b", {}, number), ` right ${sample} ${interval}`)] : [];
    if (test?.undecided) {
      words.push(el("p", {}, `${count(test.undecided, "test image")} left out: people disagree on them. Review them, or the accuracy is that of the easier ones.`));
    }
    const table = curveTable(points);
    table.dataset.name = "curve";
    return part("Learning curve", ...words, drawCurve(points),
      el("p", { className: "muted small" }, "Measured on the test images; the band is the 95 % interval."), table);
  }

  helping({ helping }) {
    if (!helping) return null;
    const word = { yes: "Yes", no: "No" }[helping.say] ?? "Cannot tell yet";
    return part("Does picking help here?", el("p", { className: "say" }, word), el("p", {}, helping.why));
  }

  consistency({ consistency }) {
    if (!consistency?.asked) return null;
    const { same, asked } = consistency;
    return part("Your consistency", el("p", {}, `${same} of ${count(asked, "repeated image")} got the same label again.`));
  }

  people({ people, agreement }) {
    if (!people || people.length < 2) return null;
    const rows = people.map(({ name, labels }) => el("tr", {}, el("td", {}, name), el("td", { className: "number" }, labels.toLocaleString("en"))));
    const lines = [];
    if (agreement?.images) {
      const kappas = [["Cohen's kappa", agreement.cohen], ["Fleiss' kappa", agreement.fleiss]].filter(([, value]) => value !== null);
      const text = kappas.map(([name, value]) => `${name} ${value.toFixed(2)}`).join(", ");
      lines.push(el("p", {}, `Agreement on ${count(agreement.images, "common image")}: ${text || "cannot tell yet"}.`));
    }
    return part("People", el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Name"),
      el("th", { scope: "col", className: "number" }, "Labels"))), el("tbody", {}, ...rows)), ...lines);
  }

  model({ model, project }) {
    const lines = [["Images", project.images.toLocaleString("en")], ["Picked by", project.strategy], ["Backbone", project.backbone]];
    if (model) {
      const age = model.age_seconds === null ? "from before the last start" : span(model.age_seconds);
      lines.push(["Model", `round ${model.round}, ${count(model.labels, "label")}`],
        ["Its age", `${age}${model.training ? ", a new one is training" : ""}`]);
    }
    return part("Project", el("dl", {}, ...lines.filter(([, value]) => value)
      .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))));
  }

  unreadable({ project }) {
    if (!project.unreadable) return null;
    const list = el("ul", { className: "files" }, ...(this.files ?? []).map(({ path, reason }) => el("li", {}, el("b", {}, path), ` ${reason}`)));
    const details = el("details", { data: { name: "files" }, ontoggle: () => details.open && this.fetchFiles(project.unreadable) },
      el("summary", {}, `${count(project.unreadable, "file")} could not be read`), list);
    return part("Unreadable files", details);
  }

  notUsed({ project }) {
    if (!project.not_used?.length) return null;
    return part("Not used", ...project.not_used.map((line) => el("p", {}, line)));
  }

  async fetchFiles(number) {
    if (this.files?.length === number) return;
    try {
      this.files = (await api.unreadable()).items;
      this.draw();
    } catch { /* the banner tells about the connection */ }
  }
}

const part = (title, ...children) => el("section", {}, el("h3", {}, title), ...children);
