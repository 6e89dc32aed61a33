"""NEXUS profiles under ``bench crash``: overrides, messages, and batches of both.

The one thing of a writer is its whole profile: the overrides and every message.  So a batch that is kept in part is
seen.
"""

from __future__ import annotations

from typing import Any

from omp.tests.benchmarks.crash_client import Broken, Writer
from omp.tests.nexus.owner import BASE, Owner, next_page

_FEW = 3
"""Messages that a request adds at most."""


class ProfileWriter(Writer):
    """The owner of one profile."""

    protocol = "nexus"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._owner = Owner(self.random.randrange(1, 2**200))
        self._count = 0
        self.ledger.states[self.name] = {"config": {}, "prompts": {}, "messages": []}

    def write(self) -> None:
        """One signed request."""
        config = ("config", {"temperature": self.random.randrange(200) / 100})
        prompts = ("prompts", {"friends_profile": f"likes {self.random.randrange(10**9)}"})
        messages = ("messages", self._messages())
        changes: list[tuple[str, Any]] = self.random.choice(
            ([config], [prompts], [messages], [config, messages, prompts], [messages, prompts])
        )
        state = self.ledger.states[self.name]
        after = {
            "config": {**state["config"], **_gathered(changes, "config")},
            "prompts": {**state["prompts"], **_gathered(changes, "prompts")},
            # The newest come first.
            "messages": _said(changes)[::-1] + state["messages"],
        }
        operations = [{"endpoint": f"/{kind}", "method": "POST", "body": _body(kind, it)} for kind, it in changes]
        endpoint, body = "/batch", {"operations": operations}
        if len(changes) == 1:
            endpoint, body = str(operations[0]["endpoint"]), operations[0]["body"]  # type: ignore[assignment]
        self.ledger.begin(self.name, lambda found: bool(found == after))
        self.ask("POST", BASE + endpoint, self._owner.signed(body), self._owner.bearer)
        self.ledger.end(self.name, after)

    def _messages(self) -> list[dict[str, Any]]:
        said = []
        for _ in range(self.random.randrange(1, _FEW + 1)):
            self._count += 1
            said.append({"run_id": f"{self.name}-{self._count}", "role": "human", "content": "x" * self._count})
        return said

    def settle(self) -> None:
        """Read the profile."""
        self.ledger.settle(self.name, self._read())

    def check(self, everything: bool) -> None:
        """The whole profile, each time."""
        self.settle()

    def _read(self) -> dict[str, Any]:
        profile = self.ask("GET", f"{BASE}/config", headers=self._owner.bearer).json
        overrides = profile["user_overrides"]
        config = overrides["config_overrides"]
        if any(profile["effective_config"][name] != value for name, value in config.items()):
            raise Broken(f"the profile of {self.name} does not follow from its overrides: {profile}")
        messages: list[dict[str, Any]] = []
        target = f"{BASE}/messages?limit=100"
        while target:
            answer = self.ask("GET", target, headers=self._owner.bearer)
            messages += [{name: one[name] for name in ("run_id", "role", "content")} for one in answer.json]
            target = next_page(answer)
        return {"config": config, "prompts": overrides["prompt_overrides"], "messages": messages}


def _body(kind: str, value: Any) -> dict[str, Any]:
    return {"messages": value} if kind == "messages" else {"overrides": value}


def _gathered(changes: list[tuple[str, Any]], kind: str) -> dict[str, Any]:
    return {name: value for one, values in changes if one == kind for name, value in values.items()}


def _said(changes: list[tuple[str, Any]]) -> list[Any]:
    return [message for kind, said in changes if kind == "messages" for message in said]
