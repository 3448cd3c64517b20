"""What people say, as events: nothing is overwritten, an undo and a change of the class list are events too."""

from __future__ import annotations

from dataclasses import dataclass, replace

ANSWERS = ("label", "unsure", "skip")
"""Kinds of events that answer for an image."""
CLASS_CHANGES = ("class-added", "class-renamed", "class-merged", "class-unmerged")
KINDS = (*ANSWERS, "undo", *CLASS_CHANGES)
PURPOSES = ("test", "typical", "picked", "random", "again", "repeat", "check", "grid", "review", "import")
"""Why an image was shown: the random test slice; to train on (the cold start's typical ones, the strategy's picks, the
random control, a grid); again, since a class changed; blind to see if the same answer comes; since the label is
suspicious; to settle a disagreement; or not at all, since the label came from a file."""


@dataclass(frozen=True)
class Event:
    """One thing that somebody said. Its uuid is made by the client, so that sending it twice is harmless.

    kind: one of KINDS; image: id; klass: class id (for class-added: the new one's); into: class id of a merge; name:
    of a class; undoes: uuid of the answer that is taken back (class-unmerged: of the merge; a review: of the
    decision that it replaces); purpose, round: as it was offered; seconds: from the image's appearance to the key;
    suggested: class id that the model would have said, shown: was it on the screen; again: images of the changed class
    are to be offered again; time: the server's, UTC (an imported label's own); seq: the order of all events, which is
    that of their writing, whatever the clocks say.
    """

    uuid: str
    kind: str
    annotator: str
    image: int | None = None
    klass: int | None = None
    into: int | None = None
    name: str | None = None
    undoes: str | None = None
    purpose: str = ""
    round: int | None = None
    seconds: float | None = None
    suggested: int | None = None
    shown: bool = False
    again: bool = False
    time: str = ""
    seq: int = 0

    def at(self, seq: int, time: str) -> Event:
        """Return the event with its place in the order of all."""
        return replace(self, seq=seq, time=self.time or time)
