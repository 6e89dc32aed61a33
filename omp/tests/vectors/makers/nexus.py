"""The vectors of NEXUS: addresses, recoveries, merged profiles.  Signed requests are in :mod:`.nexus_requests`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

from omp.protocols.nexus.defaults import BUILT_IN
from omp.protocols.nexus.ethereum import (
    G,
    N,
    RecoverableSignature,
    address,
    checksummed,
    public_key_slowly,
    recover,
    sign_slowly,
    signature_text,
)
from omp.protocols.nexus.keccak import keccak256
from omp.protocols.nexus.profile import DoesNotFit, Overrides, checked, effective_profile, merged, read_defaults
from omp.tests.vectors.makers.nexus_requests import SECRET, hex_signature, request_cases


def generate() -> dict[str, Any]:
    """Relative path → document."""
    return {
        "nexus/address.json": _document(
            "address",
            "nexus §2",
            "The public key (x ‖ y, 64 bytes, hex), the address, and its EIP-55 form, of a secret key.",
            _address_cases(),
        ),
        "nexus/checksum.json": _document(
            "checksum",
            "nexus §2.2",
            "EIP-55: the mixed-case form of an address.",
            _checksum_cases(),
        ),
        "nexus/recovery.json": _document(
            "recovery",
            "nexus §3.3, §3.5",
            "Public-key recovery (SEC 1 §4.1.6) from a 32-byte `digest` and a `signature` (r ‖ s ‖ v as text). Either "
            "`publicKey` and `address` are recovered, or `error` says why not: encoding, v, r_range, s_range, high_s, "
            "no_point, infinity.",
            _recovery_cases(),
        ),
        "nexus/signed-request.json": _document(
            "signed-request",
            "nexus §3",
            "Signed requests: the `authorization` field, the `endpoint`, the exact text of the `body`. `accepted` says "
            "whether it is authenticated (a refusal is answered 401). Accepted ones show the `payload` that was "
            "signed and its Keccak-256, `hash`: signed as it is or, where `personal`, as an EIP-191 message. `madeBy` "
            f"names the library that made a recorded one. The secret key is {SECRET:064x}.",
            request_cases(),
        ),
        "nexus/profile.json": _document(
            "profile",
            "nexus §4, §5",
            "Effective profiles: `template` (null: the built-in one), `writes` one after the other (`endpoint`, "
            "`overrides`; one that is refused with 422 has `refused`, the field, and changes nothing), and the "
            "`profile` that GET /config answers after them.",
            _profile_cases(),
        ),
    }


def _document(kind: str, spec: str, description: str, cases: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {"kind": f"nexus/{kind}", "description": description, "spec": spec, "cases": list(cases)}


# --- Addresses -----------------------------------------------------------------------------------------


def _secrets() -> Iterable[tuple[str, int]]:
    yield from (("one", 1), ("two", 2), ("n - 1", N - 1), ("the key of the signed requests", SECRET))
    random = Random(55)
    yield from ((f"random {i}", random.randrange(1, N)) for i in range(4))


def _address_cases() -> Iterable[dict[str, Any]]:
    for name, secret in _secrets():
        public_key = public_key_slowly(secret)
        lower = address(public_key)
        yield {
            "name": name,
            "secretKey": f"{secret:064x}",
            "publicKey": public_key.hex(),
            "address": lower,
            "checksummed": checksummed(lower),
        }


def _checksum_cases() -> Iterable[dict[str, Any]]:
    # The test cases of EIP-55, checked here against what this code makes.
    for name, expected in (
        ("all capitals", "0x52908400098527886E0F7030069857D2E4169EE7"),
        ("all capitals too", "0x8617E340B3D01FA5F11F306F4090FD50E238070D"),
        ("all small", "0xde709f2102306220921060314715629080e2fb77"),
        ("all small too", "0x27b1fdb04752bbc536007a920d24acb045561c26"),
        ("mixed", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
        ("mixed too", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"),
    ):
        yield {"name": name, "address": expected.lower(), "checksummed": expected}


# --- Recoveries -------------------------------------------------------------------------------------------------


def _recovery_cases() -> Iterable[dict[str, Any]]:
    digest = keccak256(b"recovery")
    for name, secret in _secrets():
        yield _recovered(name, digest, sign_slowly(secret, digest))
    for name, edge in (("a hash of zeros", bytes(32)), ("a hash above n", b"\xff" * 32)):
        yield _recovered(name, edge, sign_slowly(SECRET, edge))
    good = sign_slowly(SECRET, digest)
    text = signature_text(good)
    yield _recovered("the other v: another key", digest, good._replace(v=1 - good.v))
    yield _recovered("another hash: another key", keccak256(b"something else"), good)
    yield _recovered("v as bare parity, no 0x, capitals", digest, good, f"{text[2:-2]}{good.v:02x}".upper())
    for error, name, signature in (
        ("high_s", "s in the upper half", hex_signature(good.r, N - good.s, 28 - good.v)),
        ("high_s", "s = n - 1", hex_signature(good.r, N - 1, 27)),
        ("s_range", "s = 0", hex_signature(good.r, 0, 27)),
        ("s_range", "s = n", hex_signature(good.r, N, 27)),
        ("s_range", "s above n", hex_signature(good.r, 2**256 - 1, 27)),
        ("r_range", "r = 0", hex_signature(0, good.s, 27)),
        ("r_range", "r = n", hex_signature(N, good.s, 27)),
        ("r_range", "r above n", hex_signature(2**256 - 1, good.s, 27)),
        ("no_point", "no point of the curve has this x", hex_signature(5, good.s, 27)),
        *(("v", f"v = {v}", text[:-2] + f"{v:02x}") for v in (2, 3, 26, 29, 35, 255)),
        ("encoding", "64 bytes", text[:-2]),
        ("encoding", "66 bytes", text + "00"),
        ("encoding", "an odd number of digits", text[:-1]),
        ("encoding", "0X before it", "0X" + text[2:]),
        ("encoding", "not hex", text[:-2] + "zz"),
        ("encoding", "white space at the end", text + "\n"),
        ("encoding", "digits of another script", text[:-2] + "١٢"),
        ("encoding", "empty", ""),
    ):
        yield {"name": name, "digest": digest.hex(), "signature": signature, "error": error}
    # R = G and e = s·1, so that sR - eG is the point at infinity.
    yield {
        "name": "the key would be the point at infinity",
        "digest": f"{7:064x}",
        "signature": hex_signature(G[0], 7, 27 + (G[1] & 1)),
        "error": "infinity",
    }


def _recovered(name: str, digest: bytes, signature: RecoverableSignature, text: str = "") -> dict[str, Any]:
    public_key = recover(digest, signature)
    return {
        "name": name,
        "digest": digest.hex(),
        "signature": text or signature_text(signature),
        "publicKey": public_key.hex(),
        "address": address(public_key),
    }


# --- Profiles ----------------------------------------------------------------------------------------------------

_TEMPLATE: Mapping[str, Any] = {
    "llm": {"catalog": {"m-1": {"aliases": ["Zeta", "alpha"]}, "m-2": {"aliases": []}, "m-3": {}}},
    "user_defaults": {
        "config": {"model": "m-2", "temperature": 0.5, "tone": "dry", "stream": True, "max_tokens": 100},
        "prompts": {
            "friends_profile": {"content": "Nothing is known yet.", "editable": True, "order": 2},
            "core": {"content": "You are NEXUS.", "editable": False},
        },
    },
    "ui": {
        "editable_fields": ["config.model", "config.tone", "config.stream", "prompts.friends_profile"],
        "field_options": {"config.tone": {"type": "select", "options": ["dry", "Warm"]}},
    },
}
_CLOSED = {**_TEMPLATE, "ui": {**_TEMPLATE["ui"], "editable_fields": []}}

_Writes = tuple[tuple[str, dict[str, Any]], ...]
_PROFILES: tuple[tuple[str, Mapping[str, Any] | None, _Writes], ...] = (
    ("nothing stored", None, ()),
    ("a select takes any case and keeps the alias", None, (("/config", {"model": "KIMI-k2"}),)),
    ("every field", None, (
        ("/config", {"model": "DeepSeek-Chat", "temperature": 2, "max_tokens": 1_000_000, "history_context_size": 0}),
        ("/prompts", {"friends_profile": "名前 🦊"}),
    )),
    ("later writes are merged, null takes one back", None, (
        ("/config", {"temperature": 0.1, "max_tokens": 5}),
        ("/config", {"temperature": None, "model": "kimi-k2"}),
        ("/prompts", {"friends_profile": "x"}),
        ("/prompts", {"friends_profile": None}),
    )),
    ("a refused write changes nothing, not even its good fields", None, (
        ("/config", {"max_tokens": 7, "temperature": 2.1}),
        ("/config", {"max_tokens": 0}),
        ("/config", {"max_tokens": 1.5}),
        ("/config", {"max_tokens": True}),
        ("/config", {"max_tokens": 1_000_001}),
        ("/config", {"history_context_size": 1001}),
        ("/config", {"temperature": "0.5"}),
        ("/config", {"model": "gpt"}),
        ("/config", {"model": ["Kimi-K2"]}),
        ("/config", {"__proto__": 1}),
        ("/config", {"config.model": "Kimi-K2"}),
        ("/prompts", {"CORE_IDENTITY": "x"}),
        ("/prompts", {"friends_profile": {"content": "x"}}),
    )),
    ("a template of its own: aliases, names without, other fields", _TEMPLATE, (
        ("/config", {"model": "ALPHA", "tone": "warm", "stream": False}),
        ("/prompts", {"friends_profile": "Likes tea."}),
        ("/config", {"model": "m-1"}),
        ("/config", {"stream": "no"}),
        ("/config", {"temperature": 0.1}),
        ("/prompts", {"core": "x"}),
    )),
    ("a template that lets nothing be changed", _CLOSED, (("/config", {"model": "alpha"}),)),
)  # fmt: skip


def _profile_cases() -> Iterable[dict[str, Any]]:
    for name, template, writes in _PROFILES:
        defaults = read_defaults(BUILT_IN if template is None else template)
        stored: Overrides = {}
        shown = []
        for endpoint, overrides in writes:
            kind = endpoint[1:]
            write: dict[str, Any] = {"endpoint": endpoint, "overrides": overrides}
            try:
                stored = merged(stored, kind, checked(defaults, kind, overrides))
            except DoesNotFit as error:
                write["refused"] = str(error).partition(":")[0]
            shown.append(write)
        yield {"name": name, "template": template, "writes": shown, "profile": effective_profile(defaults, stored)}
