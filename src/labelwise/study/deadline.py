"""When a study has to stop by itself: `labelwise run --stop-after 8m`, for machines that are lent for a time.

A study stops when a round has been recorded; rounds that other runs have under way are computed again. Of the long
work before the first round,
only what is kept in parts is broken off; the rest would have to begin anew every time, so it is finished first.
"""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass

from labelwise.data.images import Progress
from labelwise.errors import InputError

IN_PARTS = ("embedding images", "labelling images zero-shot")
"""Long work before the first round, as its progress is called, of which every finished part is kept."""
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class OutOfTime(Exception):  # noqa: N818 - nothing went wrong
    """The time is over and the study is not done. Its text continues `Stopped after 8m, as asked`."""


@dataclass(frozen=True)
class Deadline:
    """When to stop. at: on the monotonic clock, seconds; infinity: never."""

    at: float = math.inf

    def over(self) -> bool:
        """Return whether it is time to stop."""
        return time.monotonic() >= self.at

    def prepared(self, what: str) -> None:
        """Stop, if it is time, after a step of the work before the first round. Errors: OutOfTime."""
        if self.over():
            kept = "what was done of it is kept" if what in IN_PARTS else "it begins anew every time: give more time"
            raise OutOfTime(f", during the preparation ({what}), before any new round; {kept}.")

    def watching(self, progress: Progress) -> Progress:
        """Return a progress that also stops, if it is time, work that is kept in parts. Errors: OutOfTime."""

        def work(what: str, done: int, total: int) -> None:
            progress(what, done, total)
            if what in IN_PARTS and done < total:
                self.prepared(what)

        return work


NEVER = Deadline()


def deadline(text: str, started: float) -> Deadline:
    """Return the deadline so long after the start (monotonic, seconds): `90s`, `8m` or `1.5h`. Errors: InputError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)([smh])", text.strip())
    seconds = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not seconds:
        raise InputError(f"--stop-after {text}: give a time such as 90s, 8m or 1.5h")
    return Deadline(started + seconds)
