"""What the vault refuses, in which order, and up to which size: end to end, with hostile input (§4.2, §6, §7)."""

from __future__ import annotations

import json
import unittest.mock
from typing import Any, ClassVar
from urllib.parse import quote

from omp.store.port import StoreUnavailable
from omp.tests.avp.parties import ALICE, BOB, CAROL, VaultCase, creation, entry, envelope, removal
from omp.tests.harness import Answer, Client


class OrderOfChecks(VaultCase):
    """401 before anything, then 404, then 403, then the body."""

    OPERATIONS = ("pull", "push", "add-member", "remove-member")
    GARBAGE = (b"", b"{", b"[]", b"null", b"\xff", b'{"repoId":1}', b"[" * 100_000)

    def send(self, caller: Client, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        return caller.request("POST", path, headers=headers, body=body)

    def test_without_a_token_nothing_is_revealed_about_repository_or_body(self) -> None:
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

    def test_an_unknown_repository_is_reported_before_a_bad_body(self) -> None:
        for operation in self.OPERATIONS:
            for body in self.GARBAGE:
                answer = self.send(self.alice, f"/v1/repos/unknown/{operation}", body, self.alice.headers)
                self.answered(answer, 404, "not_found")

    def test_a_stranger_is_refused_before_a_bad_body_is_reported(self) -> None:
        self.created()
        for operation in self.OPERATIONS:
            for body in self.GARBAGE:
                answer = self.send(self.bob, f"/v1/repos/{quote(self.repo)}/{operation}", body, self.bob.headers)
                self.answered(answer, 403, "forbidden")
        self.answered(self.bob.member(self.repo, ALICE.id), 403, "forbidden")

    def test_a_member_is_told_about_a_bad_body(self) -> None:
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


class Trouble(VaultCase):
    """Errors that are not the caller's fault, in the shape of this protocol."""

    def test_if_the_store_cannot_be_written_the_answer_is_503_and_nothing_changes(self) -> None:
        self.created()
        store = self.server.parts.store
        with unittest.mock.patch.object(store, "write", side_effect=StoreUnavailable("the disk is full")):
            answer = self.alice.push(self.repo, 1, envelope(self.repo, 2))
        self.assertIn("the disk is full", self.answered(answer, 503, "unavailable")["error"])
        self.assertEqual(self.answered(self.alice.pull(self.repo), 200)["envelope"], envelope(self.repo, 1))

    def test_a_bug_of_ours_reveals_nothing_but_an_id_in_the_log(self) -> None:
        with unittest.mock.patch.object(self.server.parts.store, "get", side_effect=RuntimeError("secret")):
            answer = self.alice.pull(self.repo)
        self.assertNotIn("secret", self.answered(answer, 500, "internal_error")["error"])


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
        "OMP_AVP_MAX_NONCES": "16",
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

    def test_the_size_of_an_envelope_is_bounded_in_every_operation(self) -> None:
        manifest = self.answered(self.alice.pull("limits-1"), 200)["manifest"]
        large = self.sized(manifest["payloadVersion"] + 1, self.MIB + 1)
        self.answered(self.alice.create({"manifest": manifest, "initialEnvelope": large}), 413, "too_large")
        body = removal("limits-1", BOB.id, [ALICE.id], 2, 1) | {"rotatedEnvelope": large}
        self.answered(self.alice.call("limits-1", "remove-member", body), 413, "too_large")

    def test_escapes_count_as_they_were_sent(self) -> None:
        now = self.answered(self.alice.pull("limits-0"), 200)["manifest"]["payloadVersion"]
        # json.dumps writes six bytes for what the server keeps in two.
        escaped = envelope("limits-0", now + 1, ciphertext="é" * (self.MIB // 6))
        self.answered(self.alice.push("limits-0", now, escaped), 413, "too_large")

    def test_size_is_counted_in_bytes_not_in_characters(self) -> None:
        now = self.answered(self.alice.pull("limits-0"), 200)["manifest"]["payloadVersion"]
        sealed = envelope("limits-0", now + 1, ciphertext="é" * (self.MIB // 2))
        body = {"repoId": "limits-0", "envelope": sealed, "expectedPayloadVersion": now}
        sent = json.dumps(body, ensure_ascii=False).encode()
        answer = self.alice.request("POST", "/v1/repos/limits-0/push", headers=self.alice.headers, body=sent)
        self.answered(answer, 413, "too_large")

    def test_a_body_beyond_every_limit_is_refused_in_the_shape_of_this_protocol(self) -> None:
        with Client(self.server.port) as other:
            answer = other.request("POST", "/v1/repos", body=b" " * (3 * self.MIB), headers=self.alice.headers)
            self.answered(answer, 413, "too_large")

    def test_the_size_of_a_manifest_is_bounded(self) -> None:
        added = self.alice.add("limits-1", entry(BOB.id, note="n" * (self.MIB - 450)))
        self.answered(added, 413, "too_large")

    def test_the_number_of_members_is_bounded_in_every_operation(self) -> None:
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

    def test_the_number_of_repositories_of_a_creator_is_bounded(self) -> None:
        answer = self.alice.create(creation(self.repo, ALICE))
        self.answered(answer, 429, "quota_exceeded")
        self.assertGreater(int(answer.headers["retry-after"]), 0)
        self.answered(self.alice.create(creation("limits-0", ALICE)), 409, "duplicate_repo")
        self.answered(self.bob.create(creation(self.repo, BOB)), 200)

    def test_the_number_of_challenges_is_bounded_and_the_oldest_is_dropped(self) -> None:
        nonces = [self.alice.challenge() for _ in range(17)]
        for nonce, status in ((nonces[0], 401), (nonces[1], 200), (nonces[-1], 200)):
            answer = self.alice.request("POST", "/api/auth/keypair/token", ALICE.redemption(nonce))
            self.assertEqual(answer.status, status)

    def test_the_well_known_document_shows_the_limits(self) -> None:
        limits = self.alice.request("GET", "/.well-known/avp").json["limits"]
        self.assertEqual(limits, {"maxEnvelopeBytes": self.MIB, "maxMembers": 3, "maxReposPerCreator": 2})


class OnlyTheCreatorInvites(VaultCase):
    environ: ClassVar[dict[str, str]] = {"OMP_AVP_INVITES": "creator"}

    def test_another_member_cannot_add_anybody_by_any_operation(self) -> None:
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

    def test_another_member_may_push_and_rotate_the_roster_without_newcomers(self) -> None:
        self.with_bob()
        roster = [entry(BOB.id, 1), entry(ALICE.id, 1)]
        self.answered(self.bob.push(self.repo, 1, envelope(self.repo, 2, 1), rotatedMembers=roster), 200)
