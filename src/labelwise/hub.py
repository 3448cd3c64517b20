"""The Hugging Face hub: known to be reachable before anything waits for it."""

from __future__ import annotations

import os
import urllib.error
import urllib.request

from labelwise.errors import InputError

SECONDS = 5.0


def require_hub(what: str, *, cached: bool, otherwise: str) -> bool:
    """Return whether the hub can be reached; raise InputError at once if it cannot and `what` is not cached.

    One request without retries: the hub's own client tries again for minutes.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        why = "HF_HUB_OFFLINE is set"
    else:
        endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        try:
            with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=SECONDS):
                return True
        except urllib.error.HTTPError:
            return True  # it answered
        except (OSError, ValueError) as error:
            why = f"{endpoint} cannot be reached ({getattr(error, 'reason', error)})"
    if cached:
        return False
    raise InputError(f"{what} is not on this machine and {why}; {otherwise}")
