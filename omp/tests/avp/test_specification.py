"""The worked examples of SPEC.md (§11, §13.8), recomputed from its fixed random values, value by value."""

from __future__ import annotations

import hmac
import json
import re
import unittest
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from omp.protocols.avp import member, sealing, vouching
from omp.protocols.avp.member import Address, Keys
from omp.rules.ed25519 import public_key_slowly, sign_slowly
from omp.rules.encodings import b64_decode, b64_encode
from omp.tests import TOP

SPEC = TOP / "omp" / "protocols" / "avp" / "SPEC.md"
needs_cryptography = unittest.skipUnless(find_spec("cryptography"), "the client's side needs the package cryptography")


def values_in(text: str) -> dict[str, str]:
    """name -> value of every line ``name = value`` in the ``text`` blocks."""
    blocks = re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.partition(" = ") for block in blocks for line in block.splitlines()]
    return {name.strip(): value for name, _, value in lines}


class WorkedExample(unittest.TestCase):
    def setUp(self) -> None:
        text = SPEC.read_text(encoding="utf-8")
        section = text[text.index("## 11.") : text.index("## 12.")]
        self.values = values_in(section) | values_in(text[text.index("### 13.8") :])
        (creation,) = re.findall(r"^```json\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        self.creation = json.loads(creation)

    def __getitem__(self, name: str) -> bytes:
        return bytes.fromhex(self.values[name])

    def shows(self, name: str, value: bytes | str) -> None:
        """Assert that the example shows `value` under `name`: bytes in hex."""
        self.assertEqual(self.values[name], value if isinstance(value, str) else value.hex(), name)

    def random_bytes(self) -> Callable[[int], bytes]:
        """The random values of the example, in the order in which createRepo takes them."""
        drawn: Iterator[str] = iter(("data key", "ephemeral private", "wrap iv", "payload iv"))
        return lambda size: self[next(drawn)]

    def test_what_needs_no_encryption(self) -> None:
        seed, nonce = self["ed25519 seed"], b64_decode(self.values["nonce"])
        self.shows("ed25519 public", public_key_slowly(seed))
        self.shows("ed25519PublicKey", b64_encode(public_key_slowly(seed)))
        self.shows("x25519PublicKey", b64_encode(self["x25519 public"]))
        self.shows("signature", b64_encode(sign_slowly(seed, nonce)))
        self.shows("aad", sealing.aad("plans", 1, 0))
        self.shows("payload", b"meet at noon\n")
        self.shows("prk", hmac.digest(self["ephemeral public"], self["shared secret"], "sha256"))
        self.shows("kek", sealing.key_encryption_key(self["shared secret"], self["ephemeral public"]))
        message = sealing.binding_message(self.values["ed25519PublicKey"], self.values["x25519PublicKey"])
        self.shows("binding message", message.decode())
        self.shows("keyBindingSig", b64_encode(sign_slowly(seed, message)))
        keys = self.values["ed25519PublicKey"], self.values["x25519PublicKey"]
        self.shows("invite request", member.encode_invite_request(*keys))
        address = Address("127.0.0.1:8787", "plans")
        self.shows("locator", member.encode_locator(address, sealing.SCHEME, 0))
        self.shows("address", str(address))

    def test_who_wrapped_it_and_the_fingerprints(self) -> None:
        manifest = self.creation["manifest"]
        (entry,) = manifest["members"]
        message = vouching.wrap_message("plans", 0, entry)
        self.shows("wrap message", message)
        signature = b64_encode(sign_slowly(self["ed25519 seed"], message))
        self.shows("omp.wrap sig", signature)
        self.assertEqual(entry["omp.wrap"], {"by": self.values["ed25519PublicKey"], "sig": signature})
        self.assertEqual(vouching.wrapper_of("plans", 0, entry), self.values["ed25519PublicKey"])
        data_key = vouching.data_key_fingerprint("plans", 0, self["data key"])
        envelope = vouching.envelope_fingerprint(self.creation["initialEnvelope"])
        (roster,) = vouching.roster_fingerprints("plans", [entry])
        members = {entry["ed25519PublicKey"]: entry["x25519PublicKey"]}
        self.shows("fp of data key", data_key)
        self.shows("fp of envelope", envelope)
        self.shows("fp of roster", roster)
        self.shows("state fingerprint", vouching.state_fingerprint("plans", 1, 0, data_key, envelope, members))
        introduction = dict(zip(member.INTRODUCTION, (entry["ed25519PublicKey"], data_key, roster), strict=True))
        address = Address("127.0.0.1:8787", "plans")
        self.shows("omp locator", member.encode_locator(address, sealing.SCHEME, 0, introduction=introduction))

    @needs_cryptography
    def test_what_is_encrypted_and_the_request_made_of_it(self) -> None:
        keys = Keys(self["ed25519 seed"], self["x25519 private"])
        ephemeral = self["ephemeral private"]
        self.shows("x25519 public", sealing.x25519_public(keys.x25519_private))
        self.shows("ephemeral public", sealing.x25519_public(ephemeral))
        self.shows("shared secret", sealing.x25519(ephemeral, self["x25519 public"]))
        made = member.creation(keys, "plans", self["payload"], self.random_bytes())
        self.assertEqual(made, self.creation)
        self.shows("sealed payload", b64_decode(made["initialEnvelope"]["ciphertext"]))
        (entry,) = made["manifest"]["members"]
        self.shows("wrapped data key", b64_decode(entry["wrappedDataKey"]["ciphertext"]))
        opened = member.opened(keys, "plans", self.creation["manifest"], self.creation["initialEnvelope"])
        self.assertEqual((opened.data_key, opened.plaintext), (self["data key"], self["payload"]))


if __name__ == "__main__":
    unittest.main()
