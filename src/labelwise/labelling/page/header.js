// The numbers above the image, the background work, and the banner when something is wrong.

import { $, accuracyParts, count, el, span, write } from "./dom.js";

export class Header {
  constructor({ state, outbox, prefetch = null }) {
    Object.assign(this, { state, outbox, prefetch });
    this.drawn = "";
  }

  draw() {
    this.banner();
    const { data, done } = this.state;
    if (!data) return;
    const { project } = data;
    write($("project"), project.name);
    document.title = `${done} of ${data.goal} - ${project.name} - labelwise`;
    $("budget").max = Math.max(1, data.goal);
    $("budget").value = Math.min(done, data.goal);
    write($("done"), done.toLocaleString("en"));
    write($("of"), ` of ${data.goal.toLocaleString("en")}`);
    $("advise").hidden = data.advice?.say !== "stop";
    const review = data.review ? ` ${data.review}` : "";
    for (const node of document.querySelectorAll(".review-count")) write(node, review);
    this.numbers(data);
    this.work(data.work);
  }

  numbers(data) {
    const parts = [
      data.seconds_per_label === null ? null : [`${data.seconds_per_label.toFixed(1)}\u00a0s`, "a label"],
      !data.minutes_left ? null : [span(data.minutes_left * 60), "left"],
      this.accuracy(data),
      this.model(data.model),
    ].filter(Boolean);
    const drawn = JSON.stringify(parts);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    $("numbers").replaceChildren(...parts.map(([number, text, long = "", tail = ""]) => el("li", { className: tail === "model" ? "model" : "" },
      el("b", {}, number), text ? ` ${text}` : "", long ? el("span", { className: "long" }, ` ${long}`) : "",
      tail && tail !== "model" ? ` ${tail}` : "")));
  }

  accuracy({ accuracy, test, no_model: why }) {
    if (accuracy) {
      const [number, sample, interval] = accuracyParts(accuracy);
      return [number, "right", sample, interval];
    }
    if (test.done < test.size) return [`${test.done} of ${test.size}`, "test images", "(the accuracy is measured on them)"];
    return ["No model yet.", "", why];
  }

  model(model) {
    if (!model) return null;
    const next = model.training ? ", training the next" : "";
    if (model.age_seconds === null) return [count(model.labels, "label"), `in the model${next}`, "", "model"]; // from before a restart
    return [span(model.age_seconds), `old model${next}`, "", "model"];
  }

  work(work) {
    const lines = (work ?? []).map(({ what, done, total }) => el("div", { className: "job" },
      el("span", {}, total ? `${capital(what)}: ${done.toLocaleString("en")} of ${total.toLocaleString("en")}` : capital(what)),
      el("progress", total ? { max: total, value: done, "aria-label": what } : { "aria-label": what })));
    $("work").hidden = !lines.length;
    $("work").replaceChildren(...lines);
  }

  banner() {
    const [text, retry] = this.trouble();
    $("banner").hidden = !text;
    write($("banner-text"), text);
    $("retry").hidden = !retry;
  }

  /** What can still be done without the server. */
  loaded() {
    const images = this.prefetch?.loadedImages() ?? 0;
    if (!images) return "No more images are loaded: labelling goes on when it answers again.";
    return `You can go on labelling: ${count(images, "image")} ${images === 1 ? "is" : "are"} loaded.`;
  }

  /** [what is wrong, whether trying again makes sense]; labels that wait come first. */
  trouble() {
    const waits = this.outbox?.size ?? 0;
    const kept = waits ? ` ${count(waits, "answer")} ${waits === 1 ? "waits" : "wait"} in this browser and will be sent.` : "";
    const unkept = waits && !this.outbox.kept ? " This browser cannot store them: keep the page open." : "";
    const trouble = this.outbox?.trouble ?? this.state.trouble;
    if (trouble?.status === 507) {
      const [reason] = trouble.message.split(";");
      return [`The server cannot store labels at the moment (${reason}). You can go on labelling.${kept}${unkept}`, true];
    }
    if (trouble && (trouble.status === 0 || !navigator.onLine)) {
      return [`No connection to the labelwise server. ${this.loaded()}${kept}${unkept}`, true];
    }
    if (trouble) return [`${trouble.message.replace(/[.\s]*$/, ".")}${kept}${unkept}`, true];
    if (this.state.data?.problem) return [this.state.data.problem, false];
    return ["", false];
  }
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
