"""Turns: how many work, how many wait, who is refused."""

from __future__ import annotations

import threading
import unittest

from omp.protocols.nexus.turns import NoTurn, Turns


def stays() -> bool:
    """The client is there."""
    return False


class Waiting(unittest.TestCase):
    """Two at a time, three waiting (§10.6)."""

    def test_one_that_fails_leaves_its_turn_to_the_next(self) -> None:
        turns = Turns(1, 0)
        for _ in range(3):
            with self.assertRaises(KeyError), turns.turn(stays):
                raise KeyError
        with turns.turn(stays), self.assertRaises(NoTurn), turns.turn(stays):
            pass

    def test_whether_the_client_left_is_asked_when_its_turn_has_come(self) -> None:
        turns = Turns(1, 1)
        there = True
        asked, refused = threading.Event(), threading.Event()

        def has_left() -> bool:
            asked.set()
            return not there

        def wait() -> None:
            try:
                with turns.turn(has_left):
                    pass
            except NoTurn:
                refused.set()

        with turns.turn(stays):
            thread = threading.Thread(target=wait)
            thread.start()
            self.assertFalse(asked.wait(0.05))
            there = False
        thread.join(20)
        self.assertTrue(refused.is_set())
        with turns.turn(stays):  # and it holds no place any more
            pass

    def test_never_more_than_two_work_and_everybody_is_served_or_refused(self) -> None:
        turns = Turns(2, 3)
        lock, go = threading.Lock(), threading.Event()
        working = most = 0
        outcomes: list[bool] = []

        def work() -> None:
            nonlocal working, most
            try:
                with turns.turn(stays):
                    with lock:
                        working += 1
                        most = max(most, working)
                    go.wait(20)
                    with lock:
                        working -= 1
            except NoTurn:
                outcomes.append(False)
            else:
                outcomes.append(True)

        threads = [threading.Thread(target=work) for _ in range(9)]
        for thread in threads:
            thread.start()
        while len(outcomes) < 4:
            go.wait(0.001)
        go.set()
        for thread in threads:
            thread.join()
        self.assertEqual((most, outcomes), (2, [False] * 4 + [True] * 5))


if __name__ == "__main__":
    unittest.main()
