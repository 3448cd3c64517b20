// What stands in the image's place when there is none: reading, nothing to offer, done; and the export.

import * as api from "./api.js";
import { busy, open, tell } from "./dialogs.js";
import { $, accuracyParts, count, el, span } from "./dom.js";

export class Finish {
  constructor({ state, prefetch, outbox }) {
    Object.assign(this, { state, prefetch, outbox });
    this.drawn = "";
    $("export-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.write(new FormData($("export-form")).get("format"));
    });
  }

  /** Shows or hides it; returns what to say where something new waits for a decision, else "". */
  draw(current) {
    const [title, lines, buttons] = current ? ["", [], []] : this.content();
    const drawn = JSON.stringify([title, lines, buttons]);
    const lost = [$("stage"), $("finish"), document.body].includes(document.activeElement); // what is hidden has no focus
    const turned = $("finish").hidden === Boolean(title);
    $("finish").hidden = !title;
    $("stage").hidden = Boolean(title);
    $("dock").classList.toggle("idle", Boolean(title));
    if (drawn === this.drawn) return "";
    this.drawn = drawn;
    const news = title !== $("finish-title").textContent && buttons.length > 0;
    $("finish-title").textContent = title;
    $("finish-lines").replaceChildren(...lines.map((line) => el("p", {}, line)));
    $("finish-buttons").replaceChildren(...buttons.map(([action, text], i) => el("button", {
      type: "button", className: i ? "" : "main", data: { do: action },
    }, text)));
    if (turned && lost) (title ? $("finish") : $("stage")).focus({ focusVisible: false });
    return news ? [`${title}.`, ...lines].join(" ") : "";
  }

  content() {
    const { data } = this.state;
    const { phase } = this.prefetch;
    if (!data) return ["Opening the project...", [], []];
    if (this.prefetch.trouble) return ["Waiting for the server", ["The next images come as soon as it answers again."], [["retry", "Try now"]]];
    if (!data.project.images) {
      return data.work.length ? ["Reading the images...", ["The first ones can be labelled in a moment."], []]
        : ["No images yet", ["There is no readable image in this folder. Put some into it, and look again."], [["rescan", "Look again"]]];
    }
    if (phase === "done") return this.summary(data);
    if (phase === "nothing") return this.nothing(data);
    return ["Getting the next image...", [], []];
  }

  summary(data) {
    const { budget, overlap } = data.project;
    const lines = [overlap > 1 ? `${count(this.state.done, "label")} of ${data.goal.toLocaleString("en")}: ${overlap} for each of ${count(budget, "image")}.`
      : `${count(this.state.done, "image")} labelled of a budget of ${budget.toLocaleString("en")}.`];
    if (data.waiting) lines.push(`${count(data.waiting, "image")} wait for another person: each is to be labelled by ${overlap}.`);
    if (data.accuracy) {
      const [number, sample, interval] = accuracyParts(data.accuracy);
      lines.push(`The model is right on ${number} of its test images: ${sample.slice(3)}, 95 % interval ${interval.slice(1, -1)}.`);
    }
    if (data.seconds_per_label !== null) {
      lines.push(`${data.seconds_per_label.toFixed(1)} s a label, ${span(data.seconds_per_label * this.state.done)} in all.`);
    }
    if (data.consistency?.asked) {
      lines.push(`${data.consistency.same} of ${count(data.consistency.asked, "repeated image")} got the same label again.`);
    }
    if (data.no_model) lines.push(`There is no model. ${data.no_model}`);
    else if (data.advice) lines.push(data.advice.why);
    const review = data.review ? [["review", `Review ${count(data.review, "disagreement")}`]] : [];
    return ["Done", lines, [["export", "Export the labels"], ...review, ["settings", "Raise the budget"]]];
  }

  nothing(data) {
    const lines = [this.waitsFor(this.prefetch.waiting)];
    const review = data.review ? [["review", `Review ${count(data.review, "disagreement")}`]] : [];
    return ["Nothing left to label now", lines, [...review, ["export", "Export the labels"], ["rescan", "Look for new images"]]];
  }

  /** What somebody with nothing to do waits for. */
  waitsFor(waiting) {
    if (!waiting) return "Every image is labelled, or is with somebody else at the moment. New ones appear here by themselves.";
    const { people, images, checks } = waiting;
    if (!images) return "Every image is labelled, or was passed over. New ones appear here by themselves.";
    const names = people.length > 1 ? `${people.slice(0, -1).join(", ")} and ${people.at(-1)}` : people[0];
    const left = checks ? "Only checks of labels are left" : "What they do not label comes here by itself";
    return `${names} ${people.length > 1 ? "have" : "has"} ${count(images, "image")} open. ${left}.`;
  }

  showExport() {
    open("export");
    $("export-path").hidden = true;
  }

  write(format) {
    return busy("export", async () => {
      $("export-path").hidden = true;
      await this.outbox.flush();
      if (this.outbox.size) throw new Error(`${count(this.outbox.size, "label")} not sent yet: export when the server answers again.`);
      const { path, note } = await api.exportTo(format);
      tell("export", note);
      $("export-path").textContent = path;
      $("export-path").hidden = false;
    }, "Writing...");
  }
}
