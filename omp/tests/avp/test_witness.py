"""The rules for what is believed (§13.4, §13.5), on rosters that are made up: who signed what is all that counts.

No encryption: this also runs without `cryptography`.  What a whole server can do is in ``test_lying_server``.
"""

from __future__ import annotations

import unittest
from typing import Any, NamedTuple

from omp.protocols.avp import vouching, witness
from omp.protocols.avp.member import INTRODUCTION, BadToken, decode_locator, encode_locator, parse_address
from omp.protocols.avp.witness import (
    AnotherDataKey,
    ForgedWrap,
    Introduction,
    Known,
    NotBelieved,
    OldState,
    Seen,
    Shown,
    SignatureMissing,
    UnvouchedDataKey,
    UnvouchedMember,
)
from omp.rules.encodings import b64u_encode
from omp.rules.json_text import compact
from omp.tests.avp.parties import ALICE, BOB, CAROL, Party, entry

DAVE = Party("dave")
REPO = "plans"
WHO = {"A": ALICE, "B": BOB, "C": CAROL, "D": DAVE}


def hash_of(number: int) -> str:
    """A fingerprint."""
    return f"{number:064x}"


def roster(text: str, epoch: int = 0) -> tuple[dict[str, Any], ...]:
    """The entries that `text` writes: ``AA BA C-`` is Alice and Bob, signed by Alice, and Carol, signed by nobody."""
    entries = []
    for member, by in map(tuple, text.split()):
        made = entry(WHO[member].id, epoch, x25519=f"key of {member}")
        entries.append(made if by == "-" else vouching.signed(made, REPO, WHO[by].id, WHO[by].sign))
    return tuple(entries)


def shown(text: str, version: int = 1, epoch: int = 0, key: int | None = None) -> Shown:
    """What is shown to Alice; the data key of an epoch has its number, unless `key` says another."""
    data_key = hash_of(epoch if key is None else key)
    return Shown(REPO, ALICE.id, version, epoch, hash_of(version), data_key, roster(text, epoch))


def remembered(text: str, version: int = 1, epoch: int = 0) -> Seen:
    """What Alice remembers after she has seen such a roster."""
    members = {
        WHO[member].id: Known(f"key of {member}", WHO[by].id if by != "-" else None)
        for member, by in map(tuple, text.split())
    }
    return Seen(version, epoch, hash_of(version), members, {each: hash_of(each) for each in range(epoch + 1)})


class Case(NamedTuple):
    """What Alice remembers, what she is shown, and what comes of it: a refusal, or whose entries are not signed."""

    name: str
    seen: Seen
    shown: Shown
    result: type[NotBelieved] | str


CASES = (
    Case("nothing new", remembered("AA BA"), shown("AA BA"), ""),
    Case("a later version", remembered("AA BA"), shown("AA BA", 7), ""),
    Case("somebody let in by a known member", remembered("AA BA"), shown("AA BA CB"), ""),
    Case("somebody let in by whom a known member let in", remembered("AA BA"), shown("AA DC CB BA"), ""),
    Case("a new epoch by a known member", remembered("AA BA"), shown("AB BB", 2, 1), ""),
    Case("a new epoch by oneself, after a crash", remembered("AA BA"), shown("AA BA", 2, 1), ""),
    Case("epochs later", remembered("AA BA"), shown("AB BB CB", 9, 7), ""),
    Case("a member that left, and wrapped for who stays", remembered("AA BA CA"), shown("AB CB", 2, 1), ""),
    Case("one that left, and let somebody in before", remembered("AA BA"), shown("AB CB", 2, 1), ""),
    Case("its wraps, when it is forgotten", remembered("AB CB", 2, 1), shown("AB CB", 3, 1), ""),
    Case("but it lets nobody in any more", remembered("AB CB", 2, 1), shown("AB CB DB", 3, 1), UnvouchedMember),
    Case("nor gives it a new key", remembered("AB CB", 2, 1), shown("AB CB", 3, 2), UnvouchedDataKey),
    Case("a removed member that lets in", remembered("AA BA CA"), shown("AC CC DB", 2, 1), UnvouchedMember),
    Case("a removed member that wraps for others", remembered("AA BA CA"), shown("AC CB", 2, 1), UnvouchedDataKey),
    Case("a stranger that lets itself in", remembered("AA BA"), shown("AA BA DD"), UnvouchedMember),
    Case("two that let each other in", remembered("AA"), shown("AA CD DC"), UnvouchedMember),
    Case("a stranger's epoch", remembered("AA BA"), shown("AD BD DD", 2, 1), UnvouchedDataKey),
    Case("a newcomer's epoch, while Alice was away", remembered("AA BA"), shown("AC BC CC", 2, 1), UnvouchedDataKey),
    Case("a stranger's wrap in the same epoch", remembered("AA BA"), shown("AA BD"), UnvouchedDataKey),
    Case("a known member's wrap in the same epoch", remembered("AA BA CA"), shown("AA BC CA"), ""),
    Case("a lower version", remembered("AA", 2), shown("AA", 1), OldState),
    Case("a lower epoch", remembered("AA", 2, 1), shown("AA", 3, 0), OldState),
    Case("an epoch without a version", remembered("AA", 2, 1), shown("AA", 2, 2), OldState),
    Case("a member gone without a version", remembered("AA BA"), shown("AA"), OldState),
    Case("a member gone with a version", remembered("AA BA"), shown("AA", 2), ""),
    Case("another key in the same epoch", remembered("AA"), shown("AA", 2, key=9), AnotherDataKey),
    Case("a signature gone", remembered("AA BA"), shown("AA B-"), SignatureMissing),
    Case("one's own signature gone", remembered("AA BA"), shown("A- BA"), SignatureMissing),
    Case("all signatures gone, in a new epoch", remembered("AA BA"), shown("A- B-", 2, 1), SignatureMissing),
    Case("a newcomer unsigned where all were signed", remembered("AA BA"), shown("AA BA C-"), UnvouchedMember),
    Case("a newcomer unsigned where one was not", remembered("AA B-"), shown("AA B- C-"), "C"),
    Case("nothing new, unsigned", remembered("A- B-"), shown("A- B-", 2), ""),
    Case("a new epoch unsigned, where nobody signs", remembered("A- B-"), shown("A- B-", 2, 1), "AB"),
    Case("a new epoch signed, where nobody did", remembered("A- B-"), shown("AB BB", 2, 1), ""),
    Case(
        "a new epoch signed by a stranger, where nobody did",
        remembered("A- B-"),
        shown("AD B-", 2, 1),
        UnvouchedDataKey,
    ),
)


def judged(seen: Seen | None, what: Shown, *more: Introduction, strict: bool = False) -> tuple[Seen, str]:
    """What is remembered, and the letters of those whose entries nobody signed."""
    after, unsigned = witness.accepted(seen, what, *more, strict=strict)
    letters = {party.id: letter for letter, party in WHO.items()}
    return after, "".join(letters[member_id] for member_id in unsigned)


class WhatFollows(unittest.TestCase):
    def test_the_rules(self) -> None:
        for case in CASES:
            with self.subTest(case.name):
                if isinstance(case.result, str):
                    after, unsigned = judged(case.seen, case.shown)
                    self.assertEqual(unsigned, case.result)
                    self.assertEqual((after.version, after.epoch), (case.shown.version, case.shown.epoch))
                    self.assertEqual(after.data_keys, {**case.seen.data_keys, after.epoch: case.shown.data_key})
                    self.assertEqual(list(after.members), [each["ed25519PublicKey"] for each in case.shown.entries])
                else:
                    with self.assertRaises(case.result):
                        judged(case.seen, case.shown)

    def test_what_was_accepted_is_accepted_again_and_tells_nothing_new(self) -> None:
        for case in CASES:
            if isinstance(case.result, str):
                after, _ = judged(case.seen, case.shown)
                self.assertEqual(judged(after, case.shown), (after, ""), case.name)

    def test_strict_wants_every_entry_signed(self) -> None:
        judged(remembered("AA BA"), shown("AA BA CB", 2), strict=True)
        for text in ("A- BA", "AA B-"):
            with self.assertRaises(SignatureMissing):
                judged(remembered("A- B-"), shown(text), strict=True)

    def test_whoever_is_trusted_is_known_and_forged_signatures_count_as_none(self) -> None:
        what = shown("AB BB", 5, 3)
        forged = what._replace(entries=roster("AB BB", 2))  # signed for another epoch
        with self.assertRaises(ForgedWrap):
            judged(remembered("AA BA"), forged)
        self.assertEqual(witness.trusted(what).members[ALICE.id].by, BOB.id)
        after = witness.trusted(forged)
        self.assertEqual({known.by for known in after.members.values()}, {None})
        self.assertEqual(judged(after, forged), (after, ""))
        with self.assertRaises(ForgedWrap):
            judged(after, forged._replace(epoch=4, version=6, data_key=hash_of(4)))


class AnIntroduction(unittest.TestCase):
    """Bob has let Alice in, in epoch 1, on a roster with Carol, whom Dave let in and who is gone."""

    def setUp(self) -> None:
        self.seen_by_bob = shown("CD BC AB", 4, 1)
        said = witness.introduction_of(self.seen_by_bob, BOB.id)
        address = parse_address("avp://host/plans")
        introduction = Introduction.in_locator(decode_locator(encode_locator(address, None, 1, introduction=said)))
        assert introduction is not None
        self.said = introduction

    def test_what_the_inviter_saw_is_known(self) -> None:
        after, unsigned = judged(None, self.seen_by_bob, self.said)
        self.assertEqual((list(after.members), unsigned), ([CAROL.id, BOB.id, ALICE.id], ""))
        judged(after, shown("AC BC CC", 5, 2))

    def test_what_came_after_must_follow(self) -> None:
        for text, version, epoch, refusal in (
            ("CD BC AB DC", 4, 1, None),
            ("CB BB AB", 5, 2, None),
            ("CC BC AC", 5, 2, None),
            ("BC CC AC", 5, 2, UnvouchedDataKey),  # Carol was known by a roster that cannot be recognised in this one
            ("BB AB", 5, 2, None),
            ("CD BB AB", 5, 2, UnvouchedDataKey),  # what Dave signed in epoch 1 is no word for epoch 2
            ("CD BC AB DD", 4, 1, UnvouchedMember),
            ("DD CD BC AB", 4, 1, UnvouchedMember),
            ("CD BC AD", 4, 1, UnvouchedDataKey),
            ("CD BC A-", 4, 1, UnvouchedDataKey),
            ("CD BC AB", 4, 0, OldState),
        ):
            with self.subTest(text, epoch=epoch):
                what = shown(text, version, epoch)
                if refusal is None:
                    judged(None, what, self.said)
                else:
                    with self.assertRaises(refusal):
                        judged(None, what, self.said)

    def test_another_data_key_is_refused(self) -> None:
        with self.assertRaises(AnotherDataKey):
            judged(None, self.seen_by_bob._replace(data_key=hash_of(9)), self.said)

    def test_a_member_that_comes_back_keeps_what_it_saw(self) -> None:
        before = remembered("AD DD", 2, 0)
        after, _ = judged(before, self.seen_by_bob, self.said)
        self.assertEqual(after.data_keys, {0: hash_of(0), 1: hash_of(1)})
        with self.assertRaises(OldState):
            judged(before._replace(version=5), self.seen_by_bob, self.said)

    def test_what_was_seen_does_not_hide_what_the_inviter_says(self) -> None:
        before = remembered("CD BC AB", 4, 1)
        self.assertEqual(judged(before, self.seen_by_bob, self.said)[1], "")
        with self.assertRaises(OldState):
            judged(before, self.seen_by_bob, self.said._replace(epoch=2))
        with self.assertRaises(AnotherDataKey):
            judged(before, self.seen_by_bob, self.said._replace(data_key=hash_of(9)))

    def test_all_of_it_or_none_is_in_a_locator(self) -> None:
        whole = {"v": 1, "host": "h", "repoId": "r", "keyEpoch": 1, **dict.fromkeys(INTRODUCTION, "0")}
        self.assertIsNotNone(Introduction.in_locator(whole))
        self.assertIsNone(Introduction.in_locator({"v": 1, "host": "h", "repoId": "r", "keyEpoch": 1}))
        for name in ("keyEpoch", *INTRODUCTION):
            part = {key: value for key, value in whole.items() if key != name}
            with self.assertRaises(BadToken):
                decode_locator(b64u_encode(compact(part).encode()))


if __name__ == "__main__":
    unittest.main()
