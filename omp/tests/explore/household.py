"""The maker of ``omp/explore/demo/household.json``: what Ann, Ben and Carol sent to the vault of the demo.

    python3 -m omp.tests.explore.household --write

It needs the package ``cryptography``.  "Randomness" follows from a name, so each run makes the same bytes.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from omp.explore.demo import Visitor
from omp.explore.demo.household import FILE, MEMBERS, REPOSITORY, keys_of, log_in
from omp.protocols.avp import member
from omp.protocols.avp.member import Keys, Opened
from omp.rules.encodings import b64_decode
from omp.tests.harness import running_server
from omp.tests.vectors.makers.avp import FixedBytes

LISTS = (b"bread", b"bread, oats", b"bread, oats, candles")
"""What the payload says: when it is made, before Carol is removed, and after."""


class Household:
    """The three at a vault; `sent` are their requests."""

    def __init__(self, visitor: Visitor) -> None:
        self.sent: list[dict[str, Any]] = []
        self._visitor = visitor
        self._tokens = {name: log_in(visitor, name) for name in MEMBERS}
        self._random = FixedBytes("household")

    @staticmethod
    def keys(name: str) -> Keys:
        """The keys of a member."""
        return Keys(*(b64_decode(half) for half in keys_of(name).values()))

    def send(self, by: str, operation: str, body: Any) -> None:
        """Send a request and keep it."""
        path = f"/v1/repos/{REPOSITORY}/{operation}" if operation else "/v1/repos"
        self._visitor.ask("POST", path, body, self._tokens[by])
        self.sent.append({"by": by, "path": path, "body": body})

    def now(self, name: str) -> Opened:
        """What a member sees."""
        body = {"repoId": REPOSITORY, "knownPayloadVersion": -1}
        answer = self._visitor.ask("POST", f"/v1/repos/{REPOSITORY}/pull", body, self._tokens[name])
        return member.opened(self.keys(name), REPOSITORY, answer["manifest"], answer["envelope"])

    def let_in(self, name: str) -> None:
        """Ann invites a member, who signs its key binding."""
        keys = self.keys(name)
        token = member.encode_invite_request(keys.member_id, keys.x25519_public_key)
        request = member.decode_invite_request(token)
        self.send("Ann", "add-member", member.invitation(self.keys("Ann"), self.now("Ann"), request, self._random))
        self.send(name, "push", member.binding_of(keys, self.now(name), self._random))

    def live(self) -> None:
        """The whole story."""
        ann = self.keys("Ann")
        self.send("Ann", "", member.creation(ann, REPOSITORY, LISTS[0], self._random))
        self.let_in("Ben")
        self.let_in("Carol")
        self.send("Carol", "push", member.payload(self.now("Carol"), LISTS[1], self._random))
        removed = self.keys("Carol").member_id
        self.send("Ann", "remove-member", member.removal(ann, self.now("Ann"), removed, self._random))
        self.send("Ben", "push", member.payload(self.now("Ben"), LISTS[2], self._random))


def made() -> str:
    """The text of the file."""
    with running_server() as server:
        household = Household(Visitor(server.parts.application))
        household.live()
    lines = (json.dumps(request, ensure_ascii=False) for request in household.sent)
    return "[\n" + ",\n".join(lines) + "\n]\n"


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    FILE.write_text(made(), encoding="utf-8")
