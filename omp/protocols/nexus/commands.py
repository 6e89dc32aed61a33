"""The commands that a chat client offers, and the routes behind each.

Implements the protocol's §II.1 (``GET /commands``) and §VIII.2 (``GET /security``).  One table: the list of commands
that need a signature is made from it.  A client shows a panel for the commands with ``requiresGUI`` and reads and
writes through ``restOptions``; ``postEndpoint`` is null for what can only be read.
"""

from __future__ import annotations

from typing import Any

_TABLE = (
    # name, description, get, post, requiresGUI
    ("identity", "View or change all that is kept for your key, in one step", "/config", "/batch", True),
    ("config", "View or modify some configuration (model, temperature, etc.)", "/config", "/config", True),
    ("prompt", "View or modify the prompt that tells the assistant about you", "/prompts", "/prompts", True),
    ("messages", "Read your message history, or add a conversation to it", "/messages", "/messages", True),
    ("help", "List the commands", "/commands", None, False),
)


def commands(base: str) -> list[dict[str, Any]]:
    """Every command with the members of §II.1; `base` is the path that the endpoints begin with."""
    return [
        {
            "name": name,
            "description": description,
            "usage": f"/{name}",
            "handler": "rest",
            "requiresGUI": needs_panel,
            "restOptions": {
                "getEndpoint": base + get,
                "postEndpoint": base + post if post else None,
                "method": "GET",
            },
        }
        for name, description, get, post, needs_panel in _TABLE
    ]


def signature_required_commands() -> list[str]:
    """The names of the commands whose writes must be signed: all that write."""
    return [name for name, _, _, post, _ in _TABLE if post]
