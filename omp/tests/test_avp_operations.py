"""The AVP operations end to end over sockets: answers, the order of checks, limits, hostile input (avp.md)."""

from __future__ import annotations

import json
import unittest
from contextlib import AbstractContextManager
from typing import Any, ClassVar
from urllib.parse import quote

from omp.tests.avp_parties import ALICE, BOB, CAROL, Caller, creation, entry, envelope, removal
from omp.tests.harness import Answer, Client, Running, running_server


class VaultCase(unittest.TestCase):
    """A server for the class, Alice, Bob and Carol with their connections, and a repository id for each test."""

    environ: ClassVar[dict[str, str]] = {}
    context: ClassVar[AbstractContextManager[Running]]
    server: ClassVar[Running]
    alice: ClassVar[Caller]
    bob: ClassVar[Caller]
    carol: ClassVar[Caller]

    @classmethod
    def setUpClass(cls) -> None:
        cls.context = running_server(cls.environ)
        cls.server = cls.context.__enter__()
        cls.alice, cls.bob, cls.carol = (Caller(cls.server.port, party) for party in (ALICE, BOB, CAROL))

    @classmethod
    def tearDownClass(cls) -> None:
        for caller in (cls.alice, cls.bob, cls.carol):
            caller.close()
        cls.context.__exit__(None, None, None)

    def setUp(self) -> None:
        self.repo = self.id()

    def answered(self, answer: Answer, status: int, code: str = "") -> Any:
        """Assert the status, and the error's code where there is one; the JSON of the answer."""
        value = answer.json
        self.assertEqual((answer.status, value.get("code", "")), (status, code), str(value)[:500])
        if code:
            self.assertLessEqual(value.keys(), {"error", "code", "detail"})
        return value

    def created(self, **more: Any) -> Any:
        return self.answered(self.alice.create(creation(self.repo, ALICE, **more)), 200)

    def with_bob(self) -> None:
        self.created()
        self.answered(self.alice.add(self.repo, entry(BOB.id)), 200)


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
            ("manifest", "payloadVersion", 2**63),
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


class Pull(VaultCase):
    def test_the_current_version_is_unchanged_and_brings_no_envelope(self) -> None:
        manifest = self.created()
        expected = {"manifest": manifest, "envelope": None, "unchanged": True}
        self.assertEqual(self.answered(self.alice.pull(self.repo, 1), 200), expected)

    def test_any_other_version_brings_the_envelope(self) -> None:
        manifest = self.created()
        for known in (-1, 0, 2, 2**63 - 1):
            expected = {"manifest": manifest, "envelope": envelope(self.repo, 1), "unchanged": False}
            self.assertEqual(self.answered(self.alice.pull(self.repo, known), 200), expected)


class Push(VaultCase):
    def test_the_expected_version_is_replaced(self) -> None:
        self.created()
        answer = self.answered(self.alice.push(self.repo, 1, envelope(self.repo, 5, 2)), 200)
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

    def test_the_roster_is_replaced_in_the_same_step(self) -> None:
        self.with_bob()
        roster = [entry(CAROL.id, 1), entry(ALICE.id, 1, keyBindingSig="sig")]
        self.answered(self.alice.push(self.repo, 1, envelope(self.repo, 2, 1), rotatedMembers=roster), 200)
        self.assertEqual(self.answered(self.carol.pull(self.repo), 200)["manifest"]["members"], roster)
        self.answered(self.bob.pull(self.repo), 403, "forbidden")

    def test_a_null_roster_is_no_roster(self) -> None:
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

    def test_the_same_request_again_gives_the_same_answer_while_it_was_the_last_write(self) -> None:
        self.with_bob()
        body = removal(self.repo, BOB.id, [ALICE.id], 2, 1)
        first = self.answered(self.alice.call(self.repo, "remove-member", body), 200)
        self.assertEqual(self.answered(self.alice.call(self.repo, "remove-member", body), 200), first)
        self.answered(self.alice.push(self.repo, 2, envelope(self.repo, 3, 1)), 200)
        self.answered(self.alice.call(self.repo, "remove-member", body), 404, "not_found")

    def test_a_write_that_changed_nothing_does_not_come_between(self) -> None:
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
    """What the server does not know survives every write and comes back."""

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

    def test_an_integer_may_be_written_with_a_point(self) -> None:
        self.created()
        answer = self.answered(self.alice.push(self.repo, 1, envelope(self.repo, 2.0)), 200)  # type: ignore[arg-type]
        self.assertIs(type(answer["payloadVersion"]), int)
        manifest = self.answered(self.alice.pull(self.repo, 2), 200)["manifest"]
        self.assertIs(type(manifest["payloadVersion"]), int)


class OrderOfChecks(VaultCase):
    """401 before anything, then 404, then 403, then the body."""

    OPERATIONS = ("pull", "push", "add-member", "remove-member")
    GARBAGE = (b"", b"{", b"[]", b"null", b"\xff", b'{"repoId":1}', b"[" * 100_000)

    def send(self, caller: Client, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        return caller.request("POST", path, headers=headers, body=body)

    def test_without_a_token_nothing_is_told_about_repository_or_body(self) -> None:
        self.created()
        credentials = ("", "Bearer", "Bearer ", "Bearer x", "Bearer é", "Basic " + self.alice.token, self.alice.token)
        with Client(self.server.port) as stranger:
            for repo in (quote(self.repo, safe=""), "unknown"):
                for operation in self.OPERATIONS:
                    answer = self.send(stranger, f"/v1/repos/{repo}/{operation}", b"{", {})
                    self.answered(answer, 401, "unauthorized")
                    self.assertEqual(answer.headers["www-authenticate"], "Bearer")
                for text in credentials:
                    headers = {"Authorization": text.encode("latin-1").decode("latin-1")}
                    answer = stranger.request("GET", f"/v1/repos/{repo}/member/x", headers=headers)
                    self.answered(answer, 401, "unauthorized")

    def test_an_unknown_repository_comes_before_the_body(self) -> None:
        for operation in self.OPERATIONS:
            for body in self.GARBAGE:
                answer = self.send(self.alice, f"/v1/repos/unknown/{operation}", body, self.alice.headers)
                self.answered(answer, 404, "not_found")

    def test_a_stranger_is_refused_before_the_body(self) -> None:
        self.created()
        for operation in self.OPERATIONS:
            for body in self.GARBAGE:
                answer = self.send(self.bob, f"/v1/repos/{quote(self.repo)}/{operation}", body, self.bob.headers)
                self.answered(answer, 403, "forbidden")
        self.answered(self.bob.member(self.repo, ALICE.id), 403, "forbidden")

    def test_then_the_body_is_looked_at(self) -> None:
        self.created()
        for operation in self.OPERATIONS:
            for body in self.GARBAGE:
                answer = self.send(self.alice, f"/v1/repos/{quote(self.repo)}/{operation}", body, self.alice.headers)
                self.answered(answer, 400, "bad_request")

    def test_the_repository_of_path_and_body_must_agree(self) -> None:
        self.created()
        bodies: dict[str, dict[str, Any]] = {
            "pull": {"knownPayloadVersion": 0},
            "push": {"envelope": envelope(self.repo, 2), "expectedPayloadVersion": 1},
            "add-member": {"member": entry(BOB.id)},
            "remove-member": removal(self.repo, BOB.id, [ALICE.id], 2, 1),
        }
        for operation, body in bodies.items():
            answer = self.alice.call(self.repo, operation, {**body, "repoId": "another"})
            self.answered(answer, 400, "bad_request")

    def test_the_scheme_of_the_token_is_case_insensitive(self) -> None:
        self.created()
        headers = {"Authorization": f"bEARER {self.alice.token}"}
        path = f"/v1/repos/{quote(self.repo)}/member/{quote(ALICE.id, safe='')}"
        self.assertEqual(self.alice.request("GET", path, headers=headers).status, 200)


class Identifiers(VaultCase):
    """Ids in paths: split first, decoded after."""

    def test_any_id_that_json_can_hold_works_in_the_path(self) -> None:
        key = "\U0001f511"
        for repo_id in ("a/b", "a%2Fb", "..", ".", "a\0b", key, " ", "+ /=?#&;", "a" * 255, "a" * 256, key * 512):
            with self.subTest(repo_id[:20]):
                self.answered(self.alice.create(creation(repo_id, ALICE)), 200)
                pulled = self.answered(self.alice.pull(repo_id), 200)
                self.assertEqual(pulled["manifest"]["repoId"], repo_id)
                self.assertEqual(self.answered(self.alice.member(repo_id, ALICE.id), 200), entry(ALICE.id))

    def test_an_id_that_is_empty_or_too_long_for_a_path_is_refused(self) -> None:
        for repo_id in ("", "a" * 513):
            self.answered(self.alice.create(creation(repo_id, ALICE)), 400, "bad_request")

    def test_ids_that_differ_only_in_encoding_are_different(self) -> None:
        self.answered(self.alice.create(creation(self.repo + "%2F", ALICE)), 200)
        self.answered(self.alice.pull(self.repo + "/"), 404, "not_found")

    def test_a_path_that_is_not_utf8_is_a_bad_request_and_an_unknown_one_is_not_found(self) -> None:
        for path, status, code in (
            ("/v1/repos/%ff/member/x", 400, "bad_request"),
            ("/v1/repos/x", 404, "not_found"),
            ("/v1/repos//member/x", 404, "not_found"),
            ("/v1/repos/x/pull", 405, "method_not_allowed"),
        ):
            self.answered(self.alice.request("GET", path, headers=self.alice.headers), status, code)


class Tolerance(VaultCase):
    def test_the_content_type_does_not_matter(self) -> None:
        self.created()
        body = json.dumps({"repoId": self.repo, "knownPayloadVersion": 1}).encode()
        for content_type in ("text/plain", "application/json; charset=utf-8", "application/vnd.avp+json", "", "x"):
            headers = {**self.alice.headers, "Content-Type": content_type}
            path = f"/v1/repos/{quote(self.repo)}/pull"
            self.answered(self.alice.request("POST", path, headers=headers, body=body), 200)

    def test_a_refused_body_leaves_the_connection_usable(self) -> None:
        with Client(self.server.port) as stranger:
            for _ in range(3):
                answer = stranger.request("POST", "/v1/repos/x/push", {"envelope": "x" * 200_000})
                self.answered(answer, 401, "unauthorized")
                self.assertEqual(stranger.request("GET", "/.well-known/avp").status, 200)

    def test_pages_of_other_origins_may_call(self) -> None:
        answer = self.alice.request("OPTIONS", "/v1/repos/x/pull", headers={"Origin": "https://app.example"})
        self.assertEqual((answer.status, answer.headers["access-control-allow-origin"]), (204, "*"))

    def test_the_well_known_document_names_the_profile(self) -> None:
        self.assertEqual(self.alice.request("GET", "/.well-known/avp").json["profiles"], ["http-json"])


class Documentation(VaultCase):
    def test_the_example_of_every_operation_fits_its_schema(self) -> None:
        (mount,) = (each for each in self.server.parts.application.mounts if each.name == "avp")
        examples = [route for route in mount.routes if route.example is not None]
        self.assertEqual(len(examples), sum(route.body is not None for route in mount.routes))
        for route in examples:
            assert route.validate_body is not None
            self.assertEqual(route.validate_body(route.example), [], route.path)


class Limits(VaultCase):
    environ: ClassVar[dict[str, str]] = {
        "OMP_AVP_MAX_ENVELOPE_MB": "1",
        "OMP_AVP_MAX_MEMBERS": "3",
        "OMP_AVP_MAX_REPOS": "2",
        "OMP_MAX_PAYLOAD_MB": "1",
    }
    MIB = 1 << 20

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        for number in range(2):
            cls.alice.create(creation(f"limits-{number}", ALICE))

    def sized(self, version: int, size: int) -> dict[str, Any]:
        """An envelope whose JSON, as json.dumps writes it, spaces included, has `size` bytes."""
        bare = len(json.dumps(envelope("limits-0", version, ciphertext="")))
        return envelope("limits-0", version, ciphertext="c" * (size - bare))

    def test_the_largest_envelope_is_taken_and_one_byte_more_is_too_large(self) -> None:
        now = self.answered(self.alice.pull("limits-0"), 200)["manifest"]["payloadVersion"]
        self.answered(self.alice.push("limits-0", now, self.sized(now + 1, self.MIB + 1)), 413, "too_large")
        self.answered(self.alice.push("limits-0", now, self.sized(now + 1, self.MIB)), 200)

    def test_escapes_and_spaces_count_as_they_were_sent(self) -> None:
        now = self.answered(self.alice.pull("limits-0"), 200)["manifest"]["payloadVersion"]
        # json.dumps writes six bytes for what the server keeps in two.
        escaped = envelope("limits-0", now + 1, ciphertext="é" * (self.MIB // 6))
        self.answered(self.alice.push("limits-0", now, escaped), 413, "too_large")

    def test_a_body_beyond_every_limit_is_refused_in_this_shape(self) -> None:
        with Client(self.server.port) as other:
            answer = other.request("POST", "/v1/repos", body=b" " * (3 * self.MIB), headers=self.alice.headers)
            self.answered(answer, 413, "too_large")

    def test_a_manifest_is_bounded_as_well(self) -> None:
        added = self.alice.add("limits-1", entry(BOB.id, note="n" * (self.MIB - 450)))
        self.answered(added, 413, "too_large")

    def test_members_are_bounded_on_every_way_in(self) -> None:
        full = [entry(member_id) for member_id in (ALICE.id, "2", "3")]
        now = self.answered(self.alice.pull("limits-0"), 200)["manifest"]["payloadVersion"]
        following = envelope("limits-0", now + 1)
        self.answered(self.alice.push("limits-0", now, following, rotatedMembers=full), 200)
        refusals = [
            self.alice.add("limits-0", entry("4")),
            self.alice.push("limits-0", now + 1, envelope("limits-0", now + 2), rotatedMembers=[*full, entry("4")]),
            self.alice.call(
                "limits-0", "remove-member", removal("limits-0", "3", [ALICE.id, "2", "4", "5"], now + 2, 1)
            ),
        ]
        for answer in refusals:
            self.answered(answer, 429, "quota_exceeded")
            self.assertGreater(int(answer.headers["retry-after"]), 0)
        self.answered(self.alice.add("limits-0", entry("3")), 200)

    def test_repositories_are_bounded_by_creator(self) -> None:
        answer = self.alice.create(creation(self.repo, ALICE))
        self.answered(answer, 429, "quota_exceeded")
        self.assertGreater(int(answer.headers["retry-after"]), 0)
        self.answered(self.alice.create(creation("limits-0", ALICE)), 409, "duplicate_repo")
        self.answered(self.bob.create(creation(self.repo, BOB)), 200)

    def test_the_well_known_document_shows_the_limits(self) -> None:
        limits = self.alice.request("GET", "/.well-known/avp").json["limits"]
        self.assertEqual(limits, {"maxEnvelopeBytes": self.MIB, "maxMembers": 3, "maxReposPerCreator": 2})


class OnlyTheCreatorInvites(VaultCase):
    environ: ClassVar[dict[str, str]] = {"OMP_AVP_INVITES": "creator"}

    def test_another_member_cannot_bring_anybody_in_by_any_way(self) -> None:
        self.with_bob()
        roster = [entry(BOB.id), entry(CAROL.id), entry(ALICE.id)]
        body = removal(self.repo, ALICE.id, [BOB.id, CAROL.id], 2, 1)
        for answer in (
            self.bob.add(self.repo, entry(CAROL.id)),
            self.bob.push(self.repo, 1, envelope(self.repo, 2), rotatedMembers=roster),
            self.bob.call(self.repo, "remove-member", body),
        ):
            self.answered(answer, 403, "policy_denied")
        self.answered(self.alice.add(self.repo, entry(CAROL.id)), 200)

    def test_another_member_may_push_and_rotate_among_those_who_are_there(self) -> None:
        self.with_bob()
        roster = [entry(BOB.id, 1), entry(ALICE.id, 1)]
        self.answered(self.bob.push(self.repo, 1, envelope(self.repo, 2, 1), rotatedMembers=roster), 200)
