"""The Hugging Face hub: known to be reachable before anything waits for it."""

from __future__ import annotations

import http.client
import os
import sys
import urllib.error
import urllib.request

from labelwise.errors import InputError

SECONDS = 5.0
REFUSALS = frozenset({403, 407, *range(500, 600)})
"""HTTP statuses by which a proxy or a broken endpoint answers in the hub's place."""


def require_hub(what: str, *, cached: bool, otherwise: str) -> bool:
    """Return whether the hub can be reached; raise InputError at once if it cannot and `what` is not cached.

    One request without retries: the hub's own client tries again for minutes.
    """
    why = _unreachable()
    if why is None:
        return True
    if cached:
        return False
    raise InputError(f"{what}: not on this machine, and {why}; {otherwise}")


def _unreachable() -> str | None:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return "HF_HUB_OFFLINE is set"
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=SECONDS):
            return None
    except urllib.error.HTTPError as error:
        return f"{endpoint} answers {error.code} {error.reason}" if error.code in REFUSALS else None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        return f"{endpoint} cannot be reached ({getattr(reason, 'strerror', None) or reason})"


def go_offline() -> None:
    """Keep the hub's libraries in this process from trying to reach it: they read their environment only at import."""
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True
    if "datasets" in sys.modules:
        sys.modules["datasets"].config.HF_HUB_OFFLINE = True
