"""What is kept between runs, because it can be made again: whole or not at all, and checked whenever it is opened.

An entry is a folder `KIND/NAME` of the cache. `entries` makes them, `checked` has their checksums and the locks that
say what is in use, `rows` is the store of embeddings, `usage` lists and clears, `passing` hands entries to other
machines.
"""

from labelwise.cache.checked import SEAL, DamagedError, mapped, mapped_npy, seal, sealed, unsealed, use, verify, warn
from labelwise.cache.entries import cached
from labelwise.cache.passing import give, noting, passed_on
from labelwise.cache.rows import Rows
from labelwise.cache.usage import keep_to_limit
from labelwise.cache.where import ABANDONED, LOCKS, cache_folder, cannot_write

__all__ = [
    "ABANDONED",
    "LOCKS",
    "SEAL",
    "DamagedError",
    "Rows",
    "cache_folder",
    "cached",
    "cannot_write",
    "give",
    "keep_to_limit",
    "mapped",
    "mapped_npy",
    "noting",
    "passed_on",
    "seal",
    "sealed",
    "unsealed",
    "use",
    "verify",
    "warn",
]
