"""The AVP operations end to end over sockets: what each answers, and what is kept (§4)."""

from __future__ import annotations

from omp.tests.avp.parties import ALICE, BOB, CAROL, VaultCase, creation, entry, envelope, removal
from omp.tests.harness import Answer, Client


class Pages(VaultCase):
    """Pages of every origin may call: no cookie goes with a request, and the token is the page's own."""

    def test_they_may_call_and_read_every_answer(self) -> None:
        origin = {"Origin": "https://app.example"}
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        pull = f"/v1/repos/{self.repo}/pull"
        with Client(self.server.port) as page:
            for path in ("/api/auth/keypair/challenge", "/api/auth/keypair/token", "/v1/repos", pull):
                answer = page.request("OPTIONS", path, headers={**origin, **asked})
                self.assertEqual((answer.status, answer.body), (204, b""), path)
                self.assertIn("POST", answer.headers["access-control-allow-methods"])
                self.assertEqual(answer.headers["access-control-allow-headers"], "*, Authorization")
                self.assertEqual(answer.headers["access-control-max-age"], "86400")
                self.readable(answer)
            challenged = page.request("POST", "/api/auth/keypair/challenge", {"ed25519PublicKey": ALICE.id}, origin)
            nonce = self.answered(challenged, 200)["nonce"]
            redeemed = page.request("POST", "/api/auth/keypair/token", ALICE.redemption(nonce), origin)
            bearer = {"Authorization": f"Bearer {self.answered(redeemed, 200)['token']}", **origin}
            created = page.request("POST", "/v1/repos", creation(self.repo, ALICE), bearer)
            stranger = page.request("POST", pull, {}, origin)
            nowhere = page.request("POST", "/v1/repos/x/nowhere", {}, bearer)
        self.assertEqual([created.status, stranger.status, nowhere.status], [200, 401, 404])
        for answer in (challenged, redeemed, created, stranger, nowhere):
            self.readable(answer)

    def readable(self, answer: Answer) -> None:
        self.assertEqual(answer.headers["access-control-allow-origin"], "*")
        self.assertEqual(answer.headers["access-control-expose-headers"], "Retry-After, WWW-Authenticate")
        self.assertNotIn("access-control-allow-credentials", answer.headers)


class CreateRepo(VaultCase):
    def test_it_answers_with_the_manifest_as_sent(self) -> None:
        self.assertEqual(self.created(), creation(self.repo, ALICE)["manifest"])

    def test_an_existing_id_is_a_duplicate_even_for_its_creator(self) -> None:
        self.created()
        self.answered(self.alice.create(creation(self.repo, ALICE)), 409, "duplicate_repo")

    def test_the_caller_must_be_the_sole_member(self) -> None:
        for members in ([], [entry(BOB.id)], [entry(ALICE.id), entry(BOB.id)], [entry(ALICE.id)] * 2):
            body = creation(self.repo, ALICE, members=members)
            self.answered(self.alice.create(body), 403, "forbidden")

    def test_envelope_and_manifest_must_agree(self) -> None:
        for name, other in (("repoId", "another"), ("payloadVersion", 2), ("keyEpoch", 1)):
            body = creation(self.repo, ALICE)
            body["initialEnvelope"][name] = other
            self.answered(self.alice.create(body), 400, "bad_request")
        self.answered(self.alice.pull(self.repo), 404, "not_found")

    def test_checks_come_in_the_order_token_types_member_duplicate_agreement(self) -> None:
        self.created()
        disagreeing = creation(self.repo, ALICE)
        disagreeing["initialEnvelope"]["keyEpoch"] = 9
        self.answered(self.alice.create(disagreeing), 409, "duplicate_repo")
        not_sole = {**disagreeing, "manifest": {**disagreeing["manifest"], "members": []}}
        self.answered(self.alice.create(not_sole), 403, "forbidden")
        ill_typed = {**not_sole, "initialEnvelope": {}}
        self.answered(self.alice.create(ill_typed), 400, "bad_request")
        self.answered(self.alice.request("POST", "/v1/repos", ill_typed), 401, "unauthorized")

    def test_the_types_of_every_member_are_checked(self) -> None:
        wrong = [
            ("manifest", "keyEpoch", "1"),
            ("manifest", "payloadVersion", True),
            ("manifest", "payloadVersion", -1),
            ("manifest", "schemeId", None),
            ("manifest", "members", {}),
            ("manifest", "members", [1]),
            ("manifest", "members", [entry(ALICE.id, epoch="0")]),  # type: ignore[arg-type]
            ("manifest", "members", [{**entry(ALICE.id), "wrappedDataKey": {"iv": "iv"}}]),
            ("manifest", "members", [entry(ALICE.id, keyBindingSig=7)]),
            ("manifest", "shareRefreshTokens", "yes"),
            ("initialEnvelope", "iv", 3),
            ("initialEnvelope", "ciphertext", None),
        ]
        for part, name, value in wrong:
            body = creation(self.repo, ALICE)
            body[part][name] = value
            with self.subTest(part=part, name=name, value=value):
                self.answered(self.alice.create(body), 400, "bad_request")

    def test_counters_range_from_0_to_the_largest_int64(self) -> None:
        for number, version in enumerate((-1, 0, 2**63 - 1, 2**63, 2**64)):
            self.repo = f"{self.id()}-{number}"
            fits = 0 <= version < 2**63
            answer = self.alice.create(creation(self.repo, ALICE, version))
            self.answered(answer, 200 if fits else 400, "" if fits else "bad_request")

    def test_a_flag_may_be_null(self) -> None:
        self.assertIsNone(self.created(shareRefreshTokens=None)["shareRefreshTokens"])

    def test_everything_that_does_not_fit_is_named_in_the_detail(self) -> None:
        body = creation(self.repo, ALICE, schemeId=None)
        body["initialEnvelope"]["iv"] = 3
        value = self.answered(self.alice.create(body), 400, "bad_request")
        for place in ("manifest.schemeId must be", "; initialEnvelope.iv must be"):
            self.assertIn(place, value["detail"])


class Pull(VaultCase):
    def test_the_current_version_is_unchanged_and_brings_no_envelope(self) -> None:
        manifest = self.created()
        expected = {"manifest": manifest, "envelope": None, "unchanged": True}
        self.assertEqual(self.answered(self.alice.pull(self.repo, 1), 200), expected)

    def test_a_known_version_is_any_int64(self) -> None:
        self.created()
        for known, status in ((-(2**63) - 1, 400), (-(2**63), 200), (2**63 - 1, 200), (2**63, 400)):
            self.assertEqual(self.alice.pull(self.repo, known).status, status)

    def test_any_other_version_brings_the_envelope(self) -> None:
        manifest = self.created()
        for known in (-1, 0, 2, 2**63 - 1):
            expected = {"manifest": manifest, "envelope": envelope(self.repo, 1), "unchanged": False}
            self.assertEqual(self.answered(self.alice.pull(self.repo, known), 200), expected)


class Push(VaultCase):
    def test_the_expected_version_is_replaced(self) -> None:
        self.created()
        rotated = [entry(ALICE.id, 2)]
        answer = self.answered(self.alice.push(self.repo, 1, envelope(self.repo, 5, 2), rotatedMembers=rotated), 200)
        self.assertEqual(answer, {"accepted": True, "conflict": False, "payloadVersion": 5, "keyEpoch": 2})
        pulled = self.answered(self.alice.pull(self.repo), 200)
        self.assertEqual(pulled["envelope"], envelope(self.repo, 5, 2))
        self.assertEqual((pulled["manifest"]["payloadVersion"], pulled["manifest"]["keyEpoch"]), (5, 2))

    def test_a_stale_expectation_is_a_conflict_with_the_current_numbers_and_changes_nothing(self) -> None:
        self.created()
        conflict = {"accepted": False, "conflict": True, "payloadVersion": 1, "keyEpoch": 0}
        for expected in (0, 2, -1):
            answer = self.alice.push(self.repo, expected, envelope(self.repo, 9, 9), rotatedMembers=[entry(BOB.id)])
            self.assertEqual(self.answered(answer, 200), conflict)
        self.assertEqual(self.answered(self.alice.pull(self.repo), 200)["envelope"], envelope(self.repo, 1))

    def test_the_version_must_rise_strictly(self) -> None:
        self.created()
        for version in (0, 1):
            self.answered(self.alice.push(self.repo, 1, envelope(self.repo, version)), 400, "bad_request")

    def test_the_counters_rise_by_at_most_2_to_the_20(self) -> None:
        self.created()
        roster, most = [entry(ALICE.id)], 1 << 20
        for version, epoch in ((2 + most, 0), (2**63 - 1, 0), (2, 1 + most), (2, 2**63 - 1)):
            answer = self.alice.push(self.repo, 1, envelope(self.repo, version, epoch), rotatedMembers=roster)
            self.answered(answer, 400, "bad_request")
        answer = self.alice.push(self.repo, 1, envelope(self.repo, 1 + most, most), rotatedMembers=roster)
        self.assertEqual(self.answered(answer, 200)["payloadVersion"], 1 + most)
        for version, epoch in ((2 + 2 * most, 1 + most), (2 + most, 1 + 2 * most)):
            body = removal(self.repo, ALICE.id, [BOB.id], version, epoch)
            self.answered(self.alice.call(self.repo, "remove-member", body), 400, "bad_request")

    def test_whoever_pushes_the_highest_version_allowed_can_still_be_removed(self) -> None:
        self.with_bob()
        highest = 1 + (1 << 20)
        self.answered(self.bob.push(self.repo, 1, envelope(self.repo, highest)), 200)
        self.answered(self.bob.push(self.repo, highest, envelope(self.repo, 2**63 - 1)), 400, "bad_request")
        body = removal(self.repo, BOB.id, [ALICE.id], highest + 1, 1)
        self.answered(self.alice.call(self.repo, "remove-member", body), 200)

    def test_clients_that_count_in_steps_of_1_from_epoch_0_go_on(self) -> None:
        self.with_bob()
        for version in range(2, 12, 2):
            epoch = version // 2
            self.answered(self.bob.push(self.repo, version - 1, envelope(self.repo, version, epoch - 1)), 200)
            self.answered(self.alice.add(self.repo, entry(CAROL.id, epoch - 1)), 200)
            body = removal(self.repo, CAROL.id, [ALICE.id, BOB.id], version + 1, epoch)
            self.answered(self.alice.call(self.repo, "remove-member", body), 200)

    def test_the_epoch_never_falls_and_stays_without_a_new_roster(self) -> None:
        self.created()
        roster = [entry(ALICE.id, 3)]
        self.answered(self.alice.push(self.repo, 1, envelope(self.repo, 2, 3), rotatedMembers=roster), 200)
        for epoch, rotated in ((2, roster), (0, roster), (2, None), (4, None)):
            answer = self.alice.push(self.repo, 2, envelope(self.repo, 3, epoch), rotatedMembers=rotated)
            self.answered(answer, 400, "bad_request")
        self.answered(self.alice.push(self.repo, 2, envelope(self.repo, 3, 3)), 200)
        self.answered(self.alice.push(self.repo, 3, envelope(self.repo, 4, 3), rotatedMembers=roster), 200)

    def test_the_roster_is_replaced_in_the_same_step(self) -> None:
        self.with_bob()
        roster = [entry(CAROL.id, 1), entry(ALICE.id, 1, keyBindingSig="sig")]
        self.answered(self.alice.push(self.repo, 1, envelope(self.repo, 2, 1), rotatedMembers=roster), 200)
        self.assertEqual(self.answered(self.carol.pull(self.repo), 200)["manifest"]["members"], roster)
        self.answered(self.bob.pull(self.repo), 403, "forbidden")

    def test_a_null_roster_replaces_nothing(self) -> None:
        self.with_bob()
        self.answered(self.alice.push(self.repo, 1, envelope(self.repo, 2), rotatedMembers=None), 200)
        self.answered(self.bob.pull(self.repo), 200)

    def test_the_new_roster_must_hold_the_caller_and_nobody_twice(self) -> None:
        self.created()
        for roster in ([], [entry(BOB.id)], [entry(ALICE.id), entry(BOB.id), entry(BOB.id, x25519="other")]):
            answer = self.alice.push(self.repo, 1, envelope(self.repo, 2), rotatedMembers=roster)
            self.answered(answer, 400, "bad_request")
        self.assertEqual(self.answered(self.alice.pull(self.repo, 1), 200)["unchanged"], True)

    def test_the_envelope_must_be_of_this_repository(self) -> None:
        self.created()
        self.answered(self.alice.push(self.repo, 1, envelope("another", 2)), 400, "bad_request")


class AddMember(VaultCase):
    def test_it_answers_with_the_manifest_that_holds_the_member(self) -> None:
        self.created()
        manifest = self.answered(self.alice.add(self.repo, entry(BOB.id)), 200)
        self.assertEqual(manifest["members"], [entry(ALICE.id), entry(BOB.id)])
        self.assertEqual(manifest, self.answered(self.bob.pull(self.repo), 200)["manifest"])

    def test_a_member_already_there_with_the_same_keys_changes_nothing(self) -> None:
        self.with_bob()
        before = self.answered(self.bob.pull(self.repo), 200)["manifest"]
        wrapped_anew = entry(BOB.id)
        wrapped_anew["wrappedDataKey"]["ciphertext"] = "wrapped anew"
        self.assertEqual(self.answered(self.alice.add(self.repo, wrapped_anew), 200), before)

    def test_a_member_already_there_with_other_keys_is_a_conflict(self) -> None:
        self.with_bob()
        self.answered(self.alice.add(self.repo, entry(BOB.id, x25519="other")), 409, "conflict")

    def test_the_x25519_key_of_an_entry_is_not_a_member_id(self) -> None:
        self.created()
        self.answered(self.alice.add(self.repo, entry(BOB.id, x25519=CAROL.id)), 200)
        self.answered(self.carol.pull(self.repo), 403, "forbidden")
        self.answered(self.alice.member(self.repo, CAROL.id), 404, "not_found")
        self.answered(self.alice.add(self.repo, entry(CAROL.id)), 200)
        self.assertEqual(self.answered(self.carol.member(self.repo, CAROL.id), 200), entry(CAROL.id))

    def test_any_member_may_invite(self) -> None:
        self.with_bob()
        self.answered(self.bob.add(self.repo, entry(CAROL.id)), 200)
        self.answered(self.carol.pull(self.repo), 200)


class RemoveMember(VaultCase):
    def test_roster_envelope_and_epoch_change_in_one_step(self) -> None:
        self.with_bob()
        answer = self.alice.call(self.repo, "remove-member", removal(self.repo, BOB.id, [ALICE.id], 2, 1))
        manifest = self.answered(answer, 200)
        self.assertEqual((manifest["payloadVersion"], manifest["keyEpoch"]), (2, 1))
        self.assertEqual(manifest["members"], [entry(ALICE.id, 1)])
        self.assertEqual(self.answered(self.alice.pull(self.repo), 200)["envelope"], envelope(self.repo, 2, 1))
        self.answered(self.bob.pull(self.repo), 403, "forbidden")

    def test_a_repeated_request_gets_the_same_answer_while_it_is_the_last_write(self) -> None:
        self.with_bob()
        body = removal(self.repo, BOB.id, [ALICE.id], 2, 1)
        first = self.answered(self.alice.call(self.repo, "remove-member", body), 200)
        self.assertEqual(self.answered(self.alice.call(self.repo, "remove-member", body), 200), first)
        self.answered(self.alice.push(self.repo, 2, envelope(self.repo, 3, 1)), 200)
        self.answered(self.alice.call(self.repo, "remove-member", body), 404, "not_found")

    def test_another_member_who_sends_the_same_bytes_does_not_repeat_the_removal(self) -> None:
        self.with_bob()
        self.answered(self.alice.add(self.repo, entry(CAROL.id)), 200)
        body = removal(self.repo, BOB.id, [ALICE.id, CAROL.id], 2, 1)
        self.answered(self.alice.call(self.repo, "remove-member", body), 200)
        self.answered(self.carol.call(self.repo, "remove-member", body), 404, "not_found")

    def test_after_an_added_member_the_removal_is_not_the_last_write(self) -> None:
        self.with_bob()
        body = removal(self.repo, BOB.id, [ALICE.id], 2, 1)
        self.answered(self.alice.call(self.repo, "remove-member", body), 200)
        self.answered(self.alice.add(self.repo, entry(CAROL.id)), 409, "conflict")  # wrapped for the epoch before
        self.answered(self.alice.add(self.repo, entry(CAROL.id, 2)), 409, "conflict")
        self.answered(self.alice.add(self.repo, entry(CAROL.id, 1)), 200)
        self.answered(self.alice.call(self.repo, "remove-member", body), 404, "not_found")

    def test_after_requests_that_changed_nothing_the_removal_is_still_the_last_write(self) -> None:
        self.with_bob()
        body = removal(self.repo, BOB.id, [ALICE.id], 2, 1)
        first = self.answered(self.alice.call(self.repo, "remove-member", body), 200)
        self.answered(self.alice.push(self.repo, 1, envelope(self.repo, 9, 1)), 200)
        self.answered(self.alice.add(self.repo, entry(ALICE.id)), 200)
        self.assertEqual(self.answered(self.alice.call(self.repo, "remove-member", body), 200), first)

    def test_a_member_may_remove_itself_and_ask_again(self) -> None:
        self.with_bob()
        body = removal(self.repo, BOB.id, [ALICE.id], 2, 1)
        first = self.answered(self.bob.call(self.repo, "remove-member", body), 200)
        self.assertEqual(self.answered(self.bob.call(self.repo, "remove-member", body), 200), first)
        self.answered(self.bob.call(self.repo, "remove-member", {**body, "newKeyEpoch": 2}), 403, "forbidden")

    def test_an_unknown_member_is_not_found(self) -> None:
        self.created()
        body = removal(self.repo, BOB.id, [ALICE.id], 2, 1)
        self.answered(self.alice.call(self.repo, "remove-member", body), 404, "not_found")

    def test_what_contradicts_itself_or_does_not_rise_is_refused(self) -> None:
        self.with_bob()
        good = removal(self.repo, BOB.id, [ALICE.id], 2, 1)
        wrong = {
            "the roster holds the removed member": removal(self.repo, BOB.id, [ALICE.id, BOB.id], 2, 1),
            "the epoch does not rise": removal(self.repo, BOB.id, [ALICE.id], 2, 0),
            "the version does not rise": removal(self.repo, BOB.id, [ALICE.id], 1, 1),
            "the envelope is of another epoch": {**good, "rotatedEnvelope": envelope(self.repo, 2, 5)},
            "the envelope is of another repository": {**good, "rotatedEnvelope": envelope("another", 2, 1)},
            "the roster does not hold the caller": removal(self.repo, BOB.id, [CAROL.id], 2, 1),
            "the roster holds a member twice": removal(self.repo, BOB.id, [ALICE.id, ALICE.id], 2, 1),
        }
        for name, body in wrong.items():
            with self.subTest(name):
                self.answered(self.alice.call(self.repo, "remove-member", body), 400, "bad_request")
        self.answered(self.bob.pull(self.repo, 1), 200)

    def test_the_last_member_cannot_be_removed(self) -> None:
        self.created()
        body = removal(self.repo, ALICE.id, [], 2, 1)
        self.answered(self.alice.call(self.repo, "remove-member", body), 400, "bad_request")


class FetchMemberKey(VaultCase):
    def test_it_answers_with_the_entry_as_sent(self) -> None:
        self.created()
        bobs = entry(BOB.id, keyBindingSig="c2ln", device={"name": "phone", "n": [1, 2.5, None]})
        self.answered(self.alice.add(self.repo, bobs), 200)
        self.assertEqual(self.answered(self.alice.member(self.repo, BOB.id), 200), bobs)

    def test_an_unknown_member_is_not_found(self) -> None:
        self.created()
        for member_id in (BOB.id, "x", "../..", "\0", "é😀", "%2F", "a" * 512):
            self.answered(self.alice.member(self.repo, member_id), 404, "not_found")


class KeptWhole(VaultCase):
    """Members that the server does not know survive every write and come back (§2.6)."""

    def test_unknown_members_survive_every_write(self) -> None:
        more = {"shareRefreshTokens": True, "x": {"deep": [1, 2.5, "é\u2028\0", None, {"payloadVersion": 7}]}}
        sealed = envelope(self.repo, 2, 0, alg="A256GCM", nested={"repoId": 1})
        self.created(**more)
        self.answered(self.alice.add(self.repo, entry(BOB.id, note="phone")), 200)
        self.answered(self.alice.push(self.repo, 1, sealed), 200)
        pulled = self.answered(self.alice.pull(self.repo), 200)
        self.assertEqual(pulled["envelope"], sealed)
        self.assertEqual(pulled["manifest"]["members"][1], entry(BOB.id, note="phone"))
        self.answered(self.alice.push(self.repo, 2, envelope(self.repo, 3), rotatedMembers=[entry(ALICE.id)]), 200)
        self.answered(self.alice.add(self.repo, entry(BOB.id)), 200)
        body = removal(self.repo, BOB.id, [ALICE.id], 4, 1)
        manifest = self.answered(self.alice.call(self.repo, "remove-member", body), 200)
        self.assertEqual({name: manifest[name] for name in more}, more)

    def test_opaque_strings_are_returned_as_sent(self) -> None:
        strings = ["", "iv", "x-abc", "\u202e\0\x7f\ufeff", "\U0001f511" * 50, '"\\/', "a\r\nb", "%2F+ ="]
        for number, text in enumerate(strings):
            self.repo = f"{self.id()}-{number}"
            self.created(schemeId=text)
            self.answered(self.alice.push(self.repo, 1, envelope(self.repo, 2, ciphertext=text)), 200)
            self.answered(self.alice.add(self.repo, entry(f"m{text}", x25519=text)), 200)
            pulled = self.answered(self.alice.pull(self.repo), 200)
            self.assertEqual(pulled["manifest"]["schemeId"], text)
            self.assertEqual(pulled["envelope"]["ciphertext"], text)
            kept = self.answered(self.alice.member(self.repo, f"m{text}"), 200)
            self.assertEqual(kept, entry(f"m{text}", x25519=text))

    def test_an_integer_may_be_written_with_a_decimal_point(self) -> None:
        """In every request 1.0 is the integer 1; the server itself writes 1."""
        body = creation(self.repo, ALICE)
        for part in body.values():
            part |= {"payloadVersion": 1.0, "keyEpoch": 0.0}
        answers = [self.alice.create(body)]
        self.answered(self.alice.add(self.repo, entry(BOB.id)), 200)
        pushed = envelope(self.repo, 2) | {"payloadVersion": 2.0, "keyEpoch": 1.0}
        rotated = [entry(ALICE.id, 1), entry(BOB.id, 1)]
        answers.append(self.alice.push(self.repo, 1.0, pushed, rotatedMembers=rotated))
        answers.append(self.alice.pull(self.repo, 2.0))
        body = removal(self.repo, BOB.id, [ALICE.id], 3, 2) | {"newKeyEpoch": 2.0}
        body["rotatedEnvelope"] |= {"payloadVersion": 3.0, "keyEpoch": 2.0}
        answers.append(self.alice.call(self.repo, "remove-member", body))
        for version, answer in zip((1, 2, 2, 3), answers, strict=True):
            value = self.answered(answer, 200)
            numbers = value.get("manifest", value)
            said = [numbers["payloadVersion"], numbers["keyEpoch"]]
            self.assertEqual((said, {*map(type, said)}), ([version, version - 1], {int}))
