"""What must hold of the rows of the vault (§2, §3): manifests agree with envelopes, counts and indexes with rows."""

from __future__ import annotations

import json
from collections import Counter

from omp.protocols.avp.repository import Repository, Roster, check_agreement, digest_of
from omp.protocols.avp.routes import CREATORS, ENVELOPES, REPOSITORIES
from omp.protocols.avp.schemas import VaultError
from omp.protocols.avp.sessions import NONCES, NONCES_BY_NUMBER, TOKENS, TOKENS_BY_EXPIRY
from omp.store.audit import Check, Kind
from omp.store.port import DamagedRow, key

TABLES = {
    REPOSITORIES: Kind.KEPT,
    ENVELOPES: Kind.KEPT,
    CREATORS: Kind.KEPT,
    NONCES: Kind.PASSING,
    NONCES_BY_NUMBER: Kind.DERIVED,
    TOKENS: Kind.PASSING,
    TOKENS_BY_EXPIRY: Kind.DERIVED,
}


def audit(check: Check) -> None:
    """Check each repository with its envelope, the count of each creator, and the sessions."""
    created: Counter[bytes] = Counter()
    envelopes = {row for row, _ in check.rows(ENVELOPES)}
    for row, value in check.rows(REPOSITORIES):
        envelopes.discard(row)
        try:
            repository = Repository.of_row(value)
            created[repository.creator] += 1
            check.require(_is_whole(check, row, repository), REPOSITORIES, row, "its digests are not its roster's")
        except DamagedRow:  # the envelope: reported by itself
            pass
        except VaultError as error:
            check.wrong(REPOSITORIES, row, f"manifest and envelope differ: {error}")
        except Exception as error:
            check.wrong(REPOSITORIES, row, f"it cannot be read ({type(error).__name__})")
    for row in envelopes:
        check.wrong(ENVELOPES, row, "its repository is missing")
    _audit_creators(check, created)
    _audit_sessions(check)


def _is_whole(check: Check, row: bytes, repository: Repository) -> bool:
    envelope = check.tx.get(ENVELOPES, row)
    if envelope is None:
        check.wrong(ENVELOPES, row, "it is missing, and there is its repository")
        return True
    manifest = json.loads(repository.manifest())
    check_agreement(manifest, json.loads(envelope))
    return key(manifest["repoId"]) == row and Roster.of(manifest["members"]) == repository.roster


def _audit_creators(check: Check, created: Counter[bytes]) -> None:
    for row, count in check.rows(CREATORS):
        found = created.pop(digest_of(row[:-2].decode(errors="replace")), 0)
        check.require(
            int.from_bytes(count, "big") == found, CREATORS, row, f"it counts others than the {found} there are"
        )
    if created:  # the rows are named by the members' ids, of which repositories hold the digests only
        check.wrong(CREATORS, b"", f"rows of {len(created)} creators are missing")


def _audit_sessions(check: Check) -> None:
    for nonce, value in check.rows(NONCES):
        check.require(len(value) == 48, NONCES, nonce, "it is not of 48 bytes")
        check.expect(NONCES_BY_NUMBER, value[8:16], value[:8] + nonce)
    for row, value in check.rows(TOKENS):
        check.require(value[8:24] == row, TOKENS, row, "its key is not that of its hash")
        check.expect(TOKENS_BY_EXPIRY, value[:8] + row, value[:8] + row)
