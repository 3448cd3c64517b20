// Seconds spent on one image: not counted while the page is hidden, nor from 60 s after the last input on.

const IDLE = 60_000;

export class Clock {
  constructor() {
    this.restart();
    for (const kind of ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"]) {
      window.addEventListener(kind, () => this.touch(), { capture: true, passive: true });
    }
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.pause();
      else this.touch();
    });
  }

  restart() {
    this.spent = 0;
    this.input = performance.now();
    this.since = document.hidden ? null : this.input;
  }

  /** Adds what ran since the last sum, up to the idle limit. */
  pause() {
    if (this.since !== null) {
      const end = Math.min(performance.now(), this.input + IDLE);
      this.spent += Math.max(0, end - this.since);
    }
    this.since = null;
  }

  touch() {
    this.pause();
    this.input = performance.now();
    if (!document.hidden) this.since = this.input;
  }

  seconds() {
    this.touch();
    return Math.round(this.spent) / 1000;
  }
}
