"""Which image a name from elsewhere means: the one rule for every file, task and table that names images.

A name is compared by whole components of its path, from the end:

1. the image whose relative path it is, as written;
2. else, where it lies inside the images' own folder: the image at that path, or none;
3. else the images whose paths end in it: `cats/1.png` means `train/cats/1.png`, `1.png` the only file of that name;
4. else the longest relative path in which it ends: `/home/ann/photos/cats/1.png` means `cats/1.png`. What it has before
   can only be a root. An image right in the folder has no folder of its own to compare: a relative name must end in the
   folder's own name (`photos/1.png`), an absolute one may come from any folder.

So folders that differ never match, however unique a file name is: `dogs/1.png` is not `cats/1.png`. Several images are
ambiguous, which is for the caller to refuse. Names are tried as they are written, then decoded as in addresses
(`%20`), then without what Label Studio puts before the name of an uploaded file. Backslashes, `./` and Unicode forms
make no difference where no image has exactly the name that is written.
"""

from __future__ import annotations

import os
import re
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from labelwise.errors import InputError, printable

ABSOLUTE = re.compile(r"/|[A-Za-z]:/|[A-Za-z][A-Za-z0-9+.-]+://")
"""How a path begins that says where it lies: on this machine or another one."""
UPLOADED = re.compile(r"(?:^|(?:^|/)upload/(?:\d+/)?)[0-9a-f]{8}-([^/]+)$")
"""Label Studio's name of an uploaded file, alone or as upload/1/1a2b3c4d-NAME: nothing is left of its folders."""
SHOWN = 3
"""Names that an error lists, and candidates of each."""


@dataclass(frozen=True, slots=True)
class Meant:
    """index: of the image, or -1 for none; candidates: all that may be meant, where there are several;

    by_name: folders were not compared, the file name alone decided.
    """

    index: int
    candidates: tuple[int, ...] = ()
    by_name: bool = False


NONE = Meant(-1)


class Finder:
    """Finds images by their names: see the module. names: relative paths, N; root: the folder they lie in, if any.

    A look-up takes O(log N): all is sorted once, when the first name is not exactly there.
    """

    def __init__(self, names: Sequence[str], root: str | os.PathLike[str] = "") -> None:
        self.names = names
        self.root = _plain(os.path.abspath(root)) if os.fspath(root) else ""
        self.folder = self.root.rpartition("/")[2]
        self.exact: dict[str, int] = {}
        self.others: dict[str, list[int]] = defaultdict(list)
        """Images that share the name of one in `exact`: names are not unique in every source."""
        for index, name in enumerate(names):
            if self.exact.setdefault(name, index) != index:
                self.others[name].append(index)

    def find(self, name: str) -> Meant:
        """Return what a name means, or several candidates, or none."""
        if name in self.exact:
            return self._of([self.exact[name], *self.others.get(name, ())])
        for text, absolute in _ways(name):
            if (found := self._find(text, absolute)) is not NONE:
                return found
        uploaded = UPLOADED.search(_plain(unquote(name)))
        return replace(self._find(uploaded[1], False), by_name=True) if uploaded else NONE

    def find_all(self, names: Iterable[str], where: str) -> dict[str, Meant]:
        """Return what each different name means. where: the file, for messages.

        Errors: InputError that lists the names that are ambiguous, and different names that mean one image; where one
        of these is its path, the others mean none.
        """
        found = {name: self.find(name) for name in dict.fromkeys(names)}
        if unclear := [name for name, meant in found.items() if meant.candidates]:
            raise InputError(f"{where}: {self.unclear(unclear, found)}")
        first: dict[int, str] = {}
        for name, meant in found.items():
            other = first.setdefault(meant.index, name)
            if meant.index < 0 or _plain(other) == _plain(name):
                continue
            path = _plain(self.names[meant.index])
            if path not in (_plain(name), _plain(other)):
                both = f"{printable(other)[:200]} and {printable(name)[:200]}"
                raise InputError(f"{where}: {both} would both be {printable(path)}; give paths in the images' folder")
            wrong, first[meant.index] = (name, other) if _plain(other) == path else (other, name)
            found[wrong] = NONE
        return found

    def unclear(self, names: Sequence[str], found: dict[str, Meant]) -> str:
        """Say which names may mean which images."""
        shown = [f"{printable(name)[:200]} ({self.candidates(found[name])})" for name in names[:SHOWN]]
        more = ", ..." if len(names) > SHOWN else ""
        count = "1 name is" if len(names) == 1 else f"{len(names):,} names are"
        return f"{count} of several images: {', '.join(shown)}{more}; give their paths in the images' folder"

    def candidates(self, meant: Meant) -> str:
        """Say which images may be meant."""
        rest = len(meant.candidates) - SHOWN
        shown = " or ".join(printable(self.names[i]) for i in meant.candidates[:SHOWN])
        return f"{shown} or {rest:,} more" if rest > 0 else shown

    def _find(self, name: str, absolute: bool) -> Meant:
        """Return what a plain name means, by the rule's four steps."""
        if name in self._plain:
            return self._of(self._plain[name])
        if self.root and name.startswith(f"{self.root}/"):
            return self._of(self._plain.get(name.removeprefix(f"{self.root}/"), []))
        longer = self._ending_in(name)
        return self._of(longer, by_name="/" not in name) if longer else self._shorter(name, absolute)

    def _shorter(self, name: str, absolute: bool) -> Meant:
        """Return the longest relative path in which a name ends; another one counts below a folder of the root's name.

        On another machine, `photos/cats/1.png` may be `cats/1.png` in a folder `photos` as well.
        """
        parts = name.split("/")
        ends = [(parts[at - 1], "/".join(parts[at:])) for at in range(1, len(parts))]
        known = [(before, end) for before, end in ends if end in self._plain]
        known = [(b, end) for b, end in known if "/" in end or absolute or not self.folder or b == self.folder]
        if not known:
            return NONE
        taken = [known[0][1], *(end for before, end in known[1:] if self.folder and before == self.folder)]
        return self._of([i for end in taken for i in self._plain[end]], by_name="/" not in taken[0])

    def _of(self, found: Sequence[int], by_name: bool = False) -> Meant:
        if len(found) > 1:
            return Meant(-1, tuple(sorted(found)))
        return Meant(found[0], (), by_name) if found else NONE

    @cached_property
    def _plain(self) -> dict[str, list[int]]:
        """Plain name -> images."""
        plain = defaultdict[str, list[int]](list)
        for index, name in enumerate(self.names):
            plain[_plain(name)].append(index)
        return dict(plain)

    @cached_property
    def _backwards(self) -> tuple[list[str], list[int]]:
        """Return plain names with their components from the last to the first, sorted, and whose they are."""
        pairs = sorted((_backwards(name), i) for name, indices in self._plain.items() for i in indices)
        return [name for name, _ in pairs], [i for _, i in pairs]

    def _ending_in(self, name: str) -> list[int]:
        """Return the images whose plain names end in this one."""
        names, indices = self._backwards
        begin = _backwards(name)
        low = bisect_left(names, begin)
        return indices[low : bisect_left(names, begin[:-1] + "0", low)]  # 0 comes after the slash


def finder_of(source: str, names: Sequence[str]) -> Finder:
    """Return the finder of a data set's images; source: a folder, a file in it, or something else."""
    path = Path(source)
    return Finder(names, path if path.is_dir() else path.parent if path.is_file() else "")


def _ways(name: str) -> Iterator[tuple[str, bool]]:
    """Yield a name's plain readings, and whether each one is absolute."""
    written = name.replace("\\", "/")
    texts = [written, *([decoded] if (decoded := unquote(written)) != written else [])]
    for text in texts:
        if plain := _plain(text):
            yield plain, bool(ABSOLUTE.match(text))


def _plain(name: str) -> str:
    """Return a name with slashes alone, without `./` and doubled ones, in one Unicode form, `a/../` taken out."""
    if (
        name.isascii()
        and "\\" not in name
        and "." not in (name[0:1], name[-1:])
        and "//" not in name
        and "/." not in name
    ):
        return name.removesuffix("/")  # most are: a million of them take a second
    parts = list[str]()
    for part in name.replace("\\", "/").split("/"):
        if part == ".." and parts and parts[-1] not in ("..", ""):
            parts.pop()
        elif part not in ("", ".") or (not parts and part == ""):
            parts.append(part)
    return unicodedata.normalize("NFC", "/".join(parts))


def _backwards(name: str) -> str:
    return "/".join(reversed(name.split("/"))) + "/"
