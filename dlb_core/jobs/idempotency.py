"""Tell a request that was sent again from a new one."""

import hashlib
import json
from collections.abc import Mapping

from dlb_core.contracts import Priority, SegmentationOptions


def scoped_key(key: str, owner: str | None) -> str:
    """Digest of a caller's idempotency key: two callers may use the same one.

    Parameters
    ----------
    key : str
        As it came.
    owner : str or None
        Who sent it; None where the service asks nobody who they are.
    """
    return _digest({"key": key, "owner": owner})


def content_digest(
    inputs: Mapping[str, str], options: SegmentationOptions, priority: Priority
) -> str:
    """Digest of what is asked for.

    Parameters
    ----------
    inputs : mapping of str
        Role (T1w, FLAIR) -> SHA-256 of the file as uploaded.
    options : SegmentationOptions
    priority : Priority
    """
    chosen = options.model_dump(mode="json")
    if options.scan_date is None:
        # Digests of requests from before there was such a choice must stay good.
        del chosen["scan_date"]
    asked = {"inputs": dict(inputs), "options": chosen}
    return _digest(asked | {"priority": priority.value})


def comparison_digest(first: str, second: str, choices: Mapping[str, object]) -> str:
    """Digest of a comparison that is asked for.

    Parameters
    ----------
    first, second : str
        What stands for a visit: its job's id, or `content_digest` of its scans.
    choices : mapping
        All else.
    """
    return _digest({"first": first, "second": second, "choices": dict(choices)})


def _digest(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
