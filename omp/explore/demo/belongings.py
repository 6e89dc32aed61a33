"""The demo's objects and profile: notes, settings, secrets that expire, and what a chat client keeps (nexus §5, §6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from omp.explore.demo import Visitor, seed
from omp.protocols.nexus.ethereum import address, public_key_slowly, sign_slowly, signature_text
from omp.protocols.nexus.keccak import keccak256

TTL, DELETE_ON_READ = "omp.ttl_sec", "omp.delete_on_read"

OBJECTS: tuple[tuple[str, str, Any, dict[str, Any]], ...] = (
    ("notes", "present-for-ben", {"text": "the blue one", "price": 24.5}, {}),
    ("notes", "bread", {"flour": 500, "water": 350, "salt": 10, "steps": ["mix", "wait", "fold", "wait", "bake"]}, {}),
    ("notes", "words", {"de": "Fernweh", "jp": "木漏れ日", "pt": "saudade"}, {"lang": "mul"}),
    ("settings", "editor", {"theme": "dark", "tab": 4, "rulers": [80, 120]}, {}),
    ("settings", "phone", {"ring": False, "contacts": {"Ben": "+43 1 555 0199"}}, {"device": "phone"}),
    ("tickets", "tram", {"from": "Ring", "to": "Prater", "code": "7F3-K2"}, {TTL: 5_400}),
    ("tickets", "museum", {"seats": 2, "gate": "B"}, {TTL: 86_400}),
    ("tickets", "parking", {"plate": "W 1234 X"}, {TTL: 600}),
    ("once", "door-code", {"code": "4711"}, {DELETE_ON_READ: True, TTL: 7_200}),
)
"""(Namespace, key, content, metadata)."""

OVERRIDES = {"model": "kimi-k2", "temperature": 0.4}
PROMPT = {"friends_profile": "I am Ann. Short answers, please, and no small talk before nine."}
MESSAGES = (
    ("monday", "human", "When do I have to leave for the dentist?", "2026-11-09T07:40:00Z"),
    ("monday", "ai", "At half past eight: you are expected at nine.", "2026-11-09T07:40:04Z"),
    ("monday", "tool", {"name": "timetable", "line": 71, "departs": "08:34"}, "2026-11-09T07:40:03Z"),
    ("present", "human", "What was it that Ben liked?", "2026-11-14T18:02:00Z"),
    ("present", "ai", "The blue one. You noted it on the 4th.", "2026-11-14T18:02:02Z"),
)  # fmt: skip
"""(Conversation, role, content, time)."""


def fill(visitor: Visitor) -> Mapping[str, Any]:
    """Store the objects and the profile; returns their part of the guide."""
    for namespace, key, content, metadata in OBJECTS:
        body = {"namespace": namespace, "key": key, "content": content, "metadata": {DELETE_ON_READ: False, **metadata}}
        visitor.ask("POST", "/objects", body)
    owner = Owner(visitor, "Ann's wallet")
    owner.post("/api/v1/config", {"overrides": OVERRIDES})
    owner.post("/api/v1/prompts", {"overrides": PROMPT})
    owner.post("/api/v1/messages", {"messages": [
        {"run_id": run, "role": role, "content": content, "created_at": time} for run, role, content, time in MESSAGES
    ]})  # fmt: skip
    return {"profile": owner.address}


class Owner:
    """Whoever holds an Ethereum key; it signs in the form A1 (nexus §3.4)."""

    def __init__(self, visitor: Visitor, name: str) -> None:
        self._visitor = visitor
        self._secret = int.from_bytes(seed(name), "big") >> 1  # below the order of the curve
        self.address = address(public_key_slowly(self._secret))

    def post(self, path: str, body: Mapping[str, Any]) -> None:
        """Send `body`, signed."""
        payload = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        signature = signature_text(sign_slowly(self._secret, keccak256(payload)))
        signed = {**body, "auth": {"publicKey": self.address, "signature": signature}}
        self._visitor.ask("POST", path, signed, self.address)
