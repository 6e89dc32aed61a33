"""``python -m omp log list`` and ``graph``: every operation once, and every line of the drawing in its place."""

from __future__ import annotations

import json
import unittest

from omp.tests.oplog.devices import LogCase
from omp.tools.log.lanes import drawn


class Lanes(unittest.TestCase):
    def check(self, nodes: str, rows: str) -> None:
        """`nodes` is as ``m:ab b:r``; the rows begin with a line end."""
        parsed = [(name, parents) for name, _, parents in (word.partition(":") for word in nodes.split())]
        made = [f"{row} {node}" if node else row for row, node in drawn(parsed)]
        self.assertEqual(made, rows.strip("\n").split("\n"))

    def test_a_chain(self) -> None:
        self.check("c:b b:a a:", "* c\n* b\n* a")

    def test_two_heads_of_one_parent(self) -> None:
        self.check("c:a b:a a:", "* c\n| * b\n|/\n* a")

    def test_a_merge_of_two_lanes(self) -> None:
        self.check("m:ab b:r a:r r:", "* m\n|\\\n| * b\n* | a\n|/\n* r")

    def test_a_merge_of_three(self) -> None:
        self.check(
            "m:abc c:r b:r a:r r:",
            "* m\n|\\\n|-|-\\\n| | * c\n| * | b\n| |/\n* | a\n|/\n* r".replace("|-|-\\", "|-|\\"),
        )

    def test_a_further_parent_that_another_lane_waits_for(self) -> None:
        self.check("x:a y:ba b:a a:", "* x\n| * y\n|/|\n| * b\n|/\n* a")

    def test_a_root_beside_another_lane(self) -> None:
        self.check("b:a c: a:", "* b\n| * c\n* a")
        self.check("a: b: c:", "* a\n* b\n* c")

    def test_lanes_move_up_where_one_ends(self) -> None:
        self.check("x:a y:b z:c a: b: c:", "* x\n| * y\n| | * z\n* | | a\n / /\n* | b\n /\n* c")


class Commands(LogCase):
    def branches(self) -> list[str]:
        """Two devices write at once, and a third operation is on top of both; the IDs in the order they were made."""
        log = self.done("laptop", "init").split("\n")[0]
        phone = self.done("phone", "init", "--device-of", log)
        made = [self.done("laptop", "grant", phone, "--caps", "author,read")]
        self.file("phone").write_bytes(self.file("laptop").read_bytes())
        made.append(self.done("laptop", "claim", "name.first", "Ada"))
        made.append(self.done("phone", "claim", "name.last", "\x1b[2JLovelace"))
        with self.file("laptop").open("ab") as file:
            file.write(self.file("phone").read_bytes().splitlines(keepends=True)[-1])
        made.append(self.done("laptop", "refute", made[1], "--reason", "a mistake"))
        return made

    def test_list_and_graph_show_each_operation_once(self) -> None:
        made = self.branches()
        short = [one.rpartition(":")[2][:12] for one in made]
        listed = self.done("laptop", "list").splitlines()
        self.assertEqual(len(listed), 4)
        self.assertTrue(listed[0].startswith(short[3]) and listed[-1].startswith(short[0]))
        self.assertIn("refutation", listed[0])
        self.assertIn("a mistake", listed[0])
        self.assertNotIn("\x1b", "".join(listed))
        graph = self.done("laptop", "graph").splitlines()
        self.assertEqual([row.split("omp")[0][:3].rstrip() for row in graph][1], "|\\")
        self.assertEqual([row for row in graph if "*" not in row], ["|\\", "|/"])
        self.assertEqual(sorted(row.split("* ")[1].lstrip("| ")[:12] for row in graph if "*" in row), sorted(short))

    def test_for_programs(self) -> None:
        made = self.branches()
        operations = json.loads(self.done("laptop", "graph", "--json"))["operations"]
        self.assertEqual(json.loads(self.done("laptop", "list", "--json"))["operations"], operations)
        self.assertEqual({one["id"]: sorted(one["parents"]) for one in operations}[made[3]], sorted(made[1:3]))
        dot = self.done("laptop", "graph", "--dot").splitlines()
        self.assertEqual((dot[0], dot[-1]), ("digraph log {", "}"))
        for parent in made[1:3]:
            self.assertIn(f'  "{made[3]}" -> "{parent}";', dot)

    def test_one_operation_as_json_is_one_document(self) -> None:
        made = self.branches()
        shown = json.loads(self.done("laptop", "show", made[1], "--json"))
        self.assertEqual((shown["operation"]["id"], shown["state"]["status"]), (made[1], "refuted"))
        self.assertIsNone(json.loads(self.done("laptop", "show", made[3], "--json"))["state"])


if __name__ == "__main__":
    unittest.main()
