"""A server that lies: each way in which it can, and the sentence with which the tool refuses it (§13.4, §13.5).

The server is a real one; what it stores is changed under it, as its operator can.  After each lie the truth is shown
again, and believed: a refusal changes nothing.
"""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any, NamedTuple

from omp.protocols.avp import member, vouching
from omp.rules.encodings import b64u_decode, b64u_encode
from omp.rules.json_text import compact, parse
from omp.tests.avp.members import JsonObject, Liar, ToolCase

State = tuple[JsonObject, JsonObject]


class Plot(NamedTuple):
    """What a liar works with: the states as Alice saw them at versions 1 to 5, and another vault of hers."""

    liar: Liar
    alice: member.Keys
    bob: member.Keys
    carol: member.Keys
    past: dict[int, State]
    other: Liar


def _entry(state: State, keys: member.Keys) -> JsonObject:
    return dict(member.entry_of(state[0], keys.member_id))


def _old_state(plot: Plot) -> None:
    plot.liar.show(*plot.past[4])


def _lower_epoch(plot: Plot) -> None:
    plot.liar.rotate(9, 0)


def _other_key_same_epoch(plot: Plot) -> None:
    plot.liar.rotate(6, 1)


def _invented_key(**how: bool) -> Callable[[Plot], None]:
    return lambda plot: plot.liar.rotate(6, 2, **how)


def _new_epoch_old_version(plot: Plot) -> None:
    plot.liar.rotate(5, 2)


def _mallory_joins(plot: Plot) -> None:
    plot.liar.add(plot.liar.entry(plot.liar.mallory, 1))


def _mallory_joins_unsigned(plot: Plot) -> None:
    plot.liar.add(plot.liar.entry(plot.liar.mallory, 1) | {"omp.wrap": None})


def _mallory_joins_under_alices_signature(plot: Plot) -> None:
    borrowed = _entry(plot.past[5], plot.carol)["omp.wrap"]
    plot.liar.add(plot.liar.entry(plot.liar.mallory, 1) | {"omp.wrap": borrowed})


def _removed_member_vouches(plot: Plot) -> None:
    entry = plot.liar.entry(plot.liar.mallory, 1)
    plot.liar.add(vouching.signed(entry, plot.liar.repo_id, plot.bob.member_id, plot.bob.sign))


def _removed_member_returns(plot: Plot) -> None:
    plot.liar.add(_entry(plot.past[3], plot.bob))


def _keys_swapped(plot: Plot) -> None:
    plot.liar.change(plot.carol.member_id, x25519PublicKey=plot.liar.mallory.x25519_public_key)


def _keys_swapped_and_signed(plot: Plot) -> None:
    keys = {**_entry(plot.past[5], plot.carol), "x25519PublicKey": plot.liar.mallory.x25519_public_key}
    plot.liar.change(plot.carol.member_id, **plot.liar.wrapped(keys, 1))


def _own_key_swapped(plot: Plot) -> None:
    plot.liar.change(plot.alice.member_id, x25519PublicKey=plot.liar.mallory.x25519_public_key)


def _stripped(plot: Plot) -> None:
    plot.liar.change(plot.carol.member_id, omp_wrap=None)


def _own_stripped(plot: Plot) -> None:
    plot.liar.change(plot.alice.member_id, omp_wrap=None)


def _replayed_from_another_repository(plot: Plot) -> None:
    there = _entry(plot.other.truth(), plot.carol)
    plot.liar.change(plot.carol.member_id, wrappedDataKey=there["wrappedDataKey"], omp_wrap=there["omp.wrap"])


def _replayed_from_another_epoch(plot: Plot) -> None:
    before = _entry(plot.past[4], plot.carol)
    plot.liar.change(plot.carol.member_id, wrappedDataKey=before["wrappedDataKey"], omp_wrap=before["omp.wrap"])


def _replayed_from_another_member(plot: Plot) -> None:
    plot.liar.change(plot.carol.member_id, omp_wrap=_entry(plot.past[5], plot.alice)["omp.wrap"])


def _rewrapped_by_a_stranger(plot: Plot) -> None:
    plot.liar.change(plot.carol.member_id, **plot.liar.wrapped(_entry(plot.past[5], plot.carol), 1))


def _member_vanishes(plot: Plot) -> None:
    manifest, envelope = plot.liar.truth()
    own = [each for each in manifest["members"] if each["ed25519PublicKey"] == plot.alice.member_id]
    plot.liar.show({**manifest, "members": own}, envelope)


LIES: dict[str, tuple[Callable[[Plot], None], str]] = {
    "an old state": (_old_state, r"shows version 4, but you have seen version 5"),
    "a lower epoch": (_lower_epoch, r"shows key epoch 0, but you have seen key epoch 1"),
    "a new epoch under an old version": (_new_epoch_old_version, r"another payload or key epoch under version 5"),
    "another data key in the same epoch": (_other_key_same_epoch, r"another data key in key epoch 1"),
    "an invented data key, signed by Mallory": (
        _invented_key(),
        r"signed the data key that is wrapped for you in .* 2",
    ),
    "an invented data key, not signed": (_invented_key(sign=False), r"was signed \(omp\.wrap\), and now it is not"),
    "an invented data key under old signatures": (_invented_key(keep=True), r"is no signature over this wrap"),
    "Mallory on the roster, by herself": (_mallory_joins, r"is new on the roster, and no member that you knew"),
    "Mallory on the roster, not signed": (
        _mallory_joins_unsigned,
        r"is new on the roster, and no member that you knew",
    ),
    "Mallory on the roster, under Alice's signature": (_mallory_joins_under_alices_signature, r"is no signature over"),
    "Mallory on the roster, by a removed member": (
        _removed_member_vouches,
        r"is new on the roster, and no member that",
    ),
    "a removed member on the roster again": (_removed_member_returns, r"is no signature over this wrap"),
    "a member's key swapped": (_keys_swapped, r"shows another X25519 key of"),
    "a member's key swapped and signed": (_keys_swapped_and_signed, r"shows another X25519 key of"),
    "one's own key swapped": (_own_key_swapped, r"Your own entry on the roster has an X25519 key that is not yours"),
    "a signature stripped": (_stripped, r"was signed \(omp\.wrap\), and now it is not"),
    "one's own signature stripped": (_own_stripped, r"was signed \(omp\.wrap\), and now it is not"),
    "a wrap of another repository": (_replayed_from_another_repository, r"is no signature over this wrap"),
    "a wrap of another epoch": (_replayed_from_another_epoch, r"is no signature over this wrap"),
    "a wrap of another member": (_replayed_from_another_member, r"is no signature over this wrap"),
    "a wrap by a stranger": (
        _rewrapped_by_a_stranger,
        r"No member that you knew signed the data key that is wrapped for",
    ),
    "a member gone without a new version": (_member_vanishes, r"is gone from the roster, but the version is still 5"),
}
"""What the server does → the sentence of ``vault pull``."""


class TheKnownVault(ToolCase):
    """Alice, Bob and Carol; Bob was removed (version 5, epoch 1); Alice has seen all of it."""

    def setUp(self) -> None:
        super().setUp()
        self.address = self.create()
        self.liar = Liar(self.server, self.address)
        past = {1: self.liar.truth()}
        for version, name in ((2, "bob"), (3, "carol")):
            self.join("alice", name, self.address)
            past[version] = self.liar.truth()
        self.vault("push", "bob", self.address, stdin=b"Bob's plan")
        past[4] = self.liar.truth()
        self.vault("remove", "alice", self.address, self.keys("bob").member_id)
        past[5] = self.liar.truth()
        other = self.create(repo="other")
        self.invite("alice", "carol", other)
        alice, bob, carol = (self.keys(name) for name in ("alice", "bob", "carol"))
        self.plot = Plot(self.liar, alice, bob, carol, past, Liar(self.server, other))

    def test_every_lie_is_refused_with_its_sentence_and_changes_nothing(self) -> None:
        truth = self.liar.truth()
        for name, (lie, sentence) in LIES.items():
            for flags in ((), ("--strict",)):
                with self.subTest(name, flags=flags):
                    lie(self.plot)
                    self.assertNotEqual(self.liar.truth(), truth)
                    said = self.refused("pull", "alice", self.address, *flags)
                    self.assertRegex(said, sentence)
                    self.assertEqual(said.count("\n"), 1)
                    self.liar.show(*truth)
        self.assertEqual(self.vault("pull", "alice", self.address), "Bob's plan")

    def test_no_command_writes_after_a_lie(self) -> None:
        request = self.vault("join", "dave")
        _mallory_joins(self.plot)
        lie = self.liar.truth()
        for action, *more in (("push",), ("invite", request), ("remove", self.keys("carol").member_id), ("show",)):
            self.assertIn("is new on the roster", self.refused(action, "alice", self.address, *more))
        self.assertEqual(self.liar.truth(), lie)

    def test_two_histories_that_two_members_wrote_are_noticed_by_who_sees_both(self) -> None:
        fork = self.liar.truth()
        self.vault("push", "alice", self.address, stdin=b"for Alice")
        self.liar.show(*fork)
        self.vault("push", "carol", self.address, stdin=b"for Carol")
        self.assertIn("another payload or key epoch under version 6", self.refused("pull", "alice", self.address))

    def test_members_who_are_shown_different_histories_see_different_fingerprints(self) -> None:
        fork = self.liar.truth()
        self.assertEqual(self.fingerprint("alice"), self.fingerprint("carol"))
        self.vault("push", "alice", self.address, stdin=b"for Alice")
        alices = self.fingerprint("alice")
        self.liar.show(*fork)
        self.vault("push", "carol", self.address, stdin=b"for Carol")
        self.assertNotEqual(alices, self.fingerprint("carol"))

    def fingerprint(self, name: str) -> str:
        return self.vault("show", name, self.address).splitlines()[-1]

    def test_a_member_that_knew_the_removed_one_is_deceived_by_nobody_else(self) -> None:
        """Carol saw version 4 last: Bob, whom she knew, may not vouch for what came after he had left."""
        self.show_version_4_to_carol()
        truth = self.liar.truth()
        _removed_member_vouches(self.plot)
        self.assertIn("is new on the roster", self.refused("pull", "carol", self.address))
        self.liar.show(*truth)
        self.assertEqual(self.vault("pull", "carol", self.address), "Bob's plan")

    def show_version_4_to_carol(self) -> None:
        truth = self.liar.truth()
        self.liar.show(*self.plot.past[4])
        self.vault("pull", "carol", self.address)
        self.liar.show(*truth)


class TheFirstPull(ToolCase):
    """Bob has a locator of Alice's, and the server lies to him from the start."""

    def setUp(self) -> None:
        super().setUp()
        self.address = self.create()
        self.vault("push", "alice", self.address, stdin=b"a better plan")
        self.liar = Liar(self.server, self.address)
        self.locator = self.invite("alice", "bob", self.address)

    def lie(self, name: str) -> None:
        mallory = self.liar.entry(self.liar.mallory, 0)
        lies: dict[str, Callable[[], Any]] = {
            "another data key": lambda: self.liar.rotate(3, 0),
            "another data key, unsigned": lambda: self.liar.rotate(3, 0, sign=False),
            "an invented epoch": lambda: self.liar.rotate(3, 1),
            "an invented epoch, unsigned": lambda: self.liar.rotate(3, 1, sign=False),
            "Mallory comes in": lambda: self.liar.add(mallory),
            "Mallory comes in, unsigned": lambda: self.liar.add({**mallory, "omp.wrap": None}),
            "Mallory was there before": lambda: self.before_bob(mallory),
            "Alice's key swapped": lambda: self.liar.change(
                self.keys("alice").member_id, x25519PublicKey=self.liar.mallory.x25519_public_key
            ),
            "Bob's signature stripped": lambda: self.liar.change(self.keys("bob").member_id, omp_wrap=None),
        }
        lies[name]()

    def before_bob(self, entry: JsonObject) -> None:
        manifest, envelope = self.liar.truth()
        self.liar.show({**manifest, "members": [entry, *manifest["members"]]}, envelope)

    def test_every_lie_is_refused(self) -> None:
        truth = self.liar.truth()
        for name, sentence in (
            ("another data key", "another data key in key epoch 0"),
            ("another data key, unsigned", "another data key in key epoch 0"),
            ("an invented epoch", "No member that you knew signed the data key that is wrapped for you in key epoch 1"),
            ("an invented epoch, unsigned", "signed the data key that is wrapped for you in key epoch 1"),
            ("Mallory comes in", "is new on the roster"),
            ("Mallory comes in, unsigned", "is new on the roster"),
            ("Mallory was there before", "is new on the roster"),
            ("Alice's key swapped", "is no signature over this wrap"),
            ("Bob's signature stripped", "signed the data key that is wrapped for you in key epoch 0"),
        ):
            with self.subTest(name):
                self.lie(name)
                self.assertIn(sentence, self.refused("join", "bob", self.locator))
                self.assertFalse(self.seen("bob").exists())
                self.liar.show(*truth)
        self.assertEqual(self.vault("join", "bob", self.locator), self.address)
        self.assertEqual(self.vault("pull", "bob", self.address), "a better plan")

    def test_an_epoch_before_the_invitation_is_refused(self) -> None:
        self.join("alice", "carol", self.address)
        self.told("remove", "alice", self.address, self.keys("carol").member_id)  # warns: Bob has no key binding yet
        locator = self.invite("alice", "dave", self.address)
        manifest, _ = self.liar.truth()
        self.liar.rotate(manifest["payloadVersion"], 0)
        self.assertIn("shows key epoch 0, but you were invited in epoch 1", self.refused("join", "dave", locator))

    def test_who_came_in_since_the_invitation_is_vouched_for_by_the_one_who_let_it_in(self) -> None:
        self.join("alice", "carol", self.address)
        self.join("carol", "dave", self.address)
        self.assertEqual(self.vault("join", "bob", self.locator), self.address)

    def test_members_that_the_inviter_did_not_wrap_for_are_known_by_the_roster(self) -> None:
        self.vault("join", "bob", self.locator)
        self.join("bob", "carol", self.address)
        self.join("carol", "dave", self.address)
        self.assertEqual(self.vault("pull", "dave", self.address), "a better plan")

    def test_a_locator_in_which_one_hash_was_changed_is_of_no_use(self) -> None:
        value = parse(b64u_decode(self.locator))
        value["omp.dataKey"] = "0" * 64
        changed = b64u_encode(compact(value).encode())
        self.assertIn("another data key in key epoch 0", self.refused("join", "bob", changed))


if __name__ == "__main__":
    unittest.main()
