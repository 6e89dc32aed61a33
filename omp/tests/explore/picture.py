"""The maker of ``omp/explore/demo/log.svg``, the picture of the demo's log with which the README begins.

    python3 -m omp.tests.explore.picture --write

It is drawn from the operations, as the page draws them, and a test finds out when it is no longer true.  The colours do
for a light and for a dark page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from omp.explore.demo import diary
from omp.protocols.oplog.core.operation import (
    CLAIM,
    CORRECTION,
    EVIDENCE,
    GRANT,
    INFERENCE,
    REFUTATION,
    REVOCATION,
    Operation,
)
from omp.protocols.oplog.core.replica import Replica
from omp.tests import TOP

FILE = TOP / "omp" / "explore" / "demo" / "log.svg"
COLUMN, LANE, LEFT, TOP_EDGE = 17, 34, 92, 24  # pixels
COLOURS = ("#3f7fe0", "#b87408", "#158a63", "#a64fbd", "#d64a40")
SHAPES = {
    EVIDENCE: "M-6,-6h12v12h-12z",
    CLAIM: "M-7,0a7,7 0 1,0 14,0a7,7 0 1,0 -14,0z",
    CORRECTION: "M0,-8L8,0L0,8L-8,0z",
    REFUTATION: "M-6,-3L-3,-6L0,-3L3,-6L6,-3L3,0L6,3L3,6L0,3L-3,6L-6,3L-3,0z",
    GRANT: "M0,-8L7,5H-7z",
    REVOCATION: "M0,8L7,-5H-7z",
    INFERENCE: "M-7,0L-3.5,-6H3.5L7,0L3.5,6H-3.5z",
}
STYLE = (
    ".edge{fill:none;stroke:#8a93a3;stroke-width:1.2}.hollow{fill:none;stroke-width:2}"
    ".void{fill:none;stroke-width:2;stroke-dasharray:3 2}.line{stroke:#8a93a3;stroke-width:1.5}"
    ".ring{fill:none;stroke:#8a93a3;stroke-width:1.5}text{font:600 12px system-ui,sans-serif;fill:#7a8394}"
)
NOTES = (
    ("merge", 0, "a merge"),
    ("fork", 1, "a fork"),
    ("revocation", 2, "a grant is revoked"),
    ("void", 1, "dated back: void"),
    ("refutation", 0, "refuted: three claims are tainted"),
)
"""(The name of an operation in the diary, a row below the lanes, what is written there under its column)."""


class Drawing:
    """The log of the diary, in columns and lanes."""

    def __init__(self, ann: diary.Ann) -> None:
        self.ann = ann
        devices = (ann.paper, ann.laptop, ann.assistant, ann.phone, ann.tablet)
        self.names = {device.key: device.name for device in devices}
        self.operations = diary.known_to([*devices, ann.restored])
        self.column = {one.id: index for index, one in enumerate(self.operations)}
        replica = Replica(ann.log)
        for operation in self.operations:
            replica.admit(operation)
        self.state: dict[str, Any] = json.loads(replica.state_document())
        self.lanes = {key: lane for lane, key in enumerate(self.names)}

    def at(self, operation: Operation) -> tuple[float, float]:
        """Where an operation stands."""
        return LEFT + self.column[operation.id] * COLUMN, TOP_EDGE + self.lanes[operation.author] * LANE

    def svg(self) -> str:
        """The whole picture."""
        width = LEFT + len(self.operations) * COLUMN
        height = TOP_EDGE + len(self.lanes) * LANE + 38
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
            ' aria-label="The operations of the demo log: a lane for each key, time to the right">',
            f"<style>{STYLE}</style>", *self._names(), *self._edges(), *self._shapes(), *self._notes(), "</svg>", "",
        ])  # fmt: skip

    def _names(self) -> Iterator[str]:
        for key, lane in self.lanes.items():
            name = "root" if lane == 0 else self.names[key]
            yield f'<text x="6" y="{TOP_EDGE + lane * LANE + 4}">{name}</text>'

    def _edges(self) -> Iterator[str]:
        last: dict[str, str] = {}
        by_id = {one.id: one for one in self.operations}
        for one in self.operations:
            x2, y2 = self.at(one)
            for parent in one.parents():
                x, y = self.at(by_id[parent])
                if y != y2:
                    path = f"M{x},{y}C{x + 9},{y2} {x},{y2} {x2},{y2}"
                elif last[one.author] != parent:  # of a fork, one edge passes a twin
                    path = f"M{x},{y}C{x + 5},{y - 18} {x2 - 5},{y - 18} {x2},{y2}"
                else:
                    path = f"M{x},{y}H{x2}"
                yield f'<path class="edge" d="{path}"/>'
            last[one.author] = one.id

    def _shapes(self) -> Iterator[str]:
        void, heads = set(self.state["void"]), set(self.state["heads"])
        dim = {
            item["id"]
            for members in ("claims", "evidence", "grants", "inferences")
            for item in self.state[members]
            if item["status"] != "active" or item.get("taint")
        }
        for one in self.operations:
            x, y = self.at(one)
            colour = COLOURS[self.lanes[one.author]]
            kind = "void" if one.id in void else "hollow" if one.id in dim else ""
            paint = f'class="{kind}" stroke="{colour}"' if kind else f'fill="{colour}"'
            ring = '<circle class="ring" r="10"/>' if one.id in heads else ""
            stroke = '<path class="line" d="M-8,8L8,-8"/>' if one.id in void else ""
            yield f'<g transform="translate({x},{y})"><path d="{SHAPES[one.type]}" {paint}/>{stroke}{ring}</g>'

    def _notes(self) -> Iterator[str]:
        bottom = TOP_EDGE + len(self.lanes) * LANE
        by_id = {one.id: one for one in self.operations}
        for name, row, words in NOTES:
            x, y = self.at(by_id[self.ann.named[name]])
            below = bottom + row * 15
            yield f'<path class="edge" stroke-dasharray="1 3" d="M{x},{y + 9}V{below - 9}"/>'
            yield f'<text x="{x - 4}" y="{below + 2}">{words}</text>'


def made() -> str:
    """The text of the file."""
    return Drawing(diary.told()).svg()


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    FILE.write_text(made(), encoding="utf-8")
