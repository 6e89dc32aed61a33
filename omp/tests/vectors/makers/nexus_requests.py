"""The signed requests among the vectors of NEXUS: recorded from other libraries, in every form, and refused ones.

Recorded requests are constants here (:data:`RECORDED`): ethers 6.17.0 and eth-keys 0.8.0 signed them, with the key
:data:`SECRET`, as their users do.  The others are signed by hand (RFC 6979, as these libraries do).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from omp.protocols.nexus.ethereum import (
    N,
    RecoverableSignature,
    address,
    personal_message_hash,
    public_key_slowly,
    sign_slowly,
    signature_text,
)
from omp.protocols.nexus.keccak import keccak256
from omp.protocols.nexus.signatures import FORM_B, FORMS, Form, as_written, broken_payload, payload

SECRET = 0x4646464646464646464646464646464646464646464646464646464646464646
OWNER = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F"
"""The address of SECRET, as ethers writes it (EIP-55)."""

ETHERS = "ethers 6.17.0"
ETH_KEYS = "eth-keys 0.8.0"

# name → (endpoint, the body without auth as JavaScript writes it, as Python's json.dumps writes it)
BODIES = {
    "config": (
        "/config",
        '{"overrides":{"temperature":0.9,"model":"deepseek-chat"}}',
        '{"overrides": {"temperature": 0.9, "model": "deepseek-chat"}}',
    ),
    "model": (
        "/config",
        '{"overrides":{"model":"deepseek-chat"}}',
        '{"overrides": {"model": "deepseek-chat"}}',
    ),
    "float": (
        "/config",
        '{"overrides":{"temperature":1e-7}}',
        '{"overrides": {"temperature": 1e-07}}',
    ),
    "prompt": (
        "/prompts",
        '{"overrides":{"friends_profile":"Naïve «Größe» 名前 🦊 \\"quoted\\"\\n\\t\u2028\x7f\\\\/"}}',
        '{"overrides": {"friends_profile": "Na\\u00efve \\u00abGr\\u00f6\\u00dfe\\u00bb \\u540d\\u524d \\ud83e\\udd8a'
        ' \\"quoted\\"\\n\\t\\u2028\\u007f\\\\/"}}',
    ),
    # By code point U+E000 comes before U+1F98A, by UTF-16 unit after it (D83E DD8A).
    "order": (
        "/messages",
        '{"messages":[{"run_id":"run_1","role":"tool","content":{"\ue000":1,"🦊":1.5e+300,"a":[]}}]}',
        '{"messages": [{"run_id": "run_1", "role": "tool",'
        ' "content": {"\\ue000": 1, "\\ud83e\\udd8a": 1.5e+300, "a": []}}]}',
    ),
    "batch": (
        "/batch",
        '{"operations":[{"endpoint":"/config","method":"POST","body":{"overrides":{"temperature":1.25}}},'
        '{"endpoint":"/prompts","method":"POST","body":{"overrides":{"friends_profile":"é"}}}]}',
        '{"operations": [{"endpoint": "/config", "method": "POST", "body": {"overrides": {"temperature": 1.25}}},'
        ' {"endpoint": "/prompts", "method": "POST", "body": {"overrides": {"friends_profile": "\\u00e9"}}}]}',
    ),
}

RECORDED = (
    (
        ETHERS,
        "signingKey.sign",
        "config",
        "0xff38e0c7e245b1b15f918063e863e2bbb5652bf1a05af0cc425d3e0a0b9b7ed0"
        "62c2a6936bee2f886c5d1f7b69d28de947f2c2bb741dc3a0a65a84388eabb7f61c",
    ),
    (
        ETHERS,
        "signMessage",
        "config",
        "0x58d2b9f75dbac739853dc2d5cf867bd794ed06f090110f1e1dd9c3d028e73357"
        "663d6835624347b56c167958bdff152614cd5b123d6ae443b188b209186686541b",
    ),
    (
        ETHERS,
        "signingKey.sign",
        "float",
        "0x582ec08a8eaa2e2f16994f75fb4a3da26546564805b33a19a01fef6c51035616"
        "1e227649ccdba330e004c762d615813780140719e5993ed84418990883bfce0d1c",
    ),
    (
        ETHERS,
        "signMessage",
        "float",
        "0x11534015f59cf08c4efe1e99903249a2f8521e341311638b126d54a1076d496d"
        "3afdb2c3e636bf3dfc14ab3e77ae07e1a722be5593ef19f3100657abc3e428701c",
    ),
    (
        ETHERS,
        "signingKey.sign",
        "prompt",
        "0x42971ba2576c86398ea4ea61f22b3b2a000475ee0f1731c17c4740a11e685757"
        "0b71a3eb46cabc06d0efc8f8ee9985fba2decdf342ae45a6b23d0399f4655d611b",
    ),
    (
        ETHERS,
        "signMessage",
        "prompt",
        "0xd1ab07623aaa61561aa671a3dca6d99e2cf0b7952a6da0a700e9a45939241cad"
        "56163bf65a4b6c9a9d02ef538c6dbfd13b6e103ee17795aa77b0b3ec566bdc3c1b",
    ),
    (
        ETHERS,
        "signingKey.sign",
        "order",
        "0x3f5f9f0e658dfe19c4a0e1bd5b4fb64b3c2bc8188be25a34b6e3ef9e95c1c7b1"
        "10128907d4430642defd97e3415b3d08482c3c1620e5a1edd250e2c29ac6cbdf1c",
    ),
    (
        ETHERS,
        "signMessage",
        "order",
        "0x0ad6fbdbf979988e16ccf4fad5cffe88f26d6e6e0fd5d4c21881b4ed520a742c"
        "3a342959e6636e0e2405b7b21f7e78d336a89d5683de3fd8457567f0c103993b1c",
    ),
    (
        ETHERS,
        "signingKey.sign",
        "batch",
        "0x761c37eaafa9463bac4b10ed8020cfe3a3769e2565f31c304bf48820515d1c96"
        "56741badc577fb651fde59ba48089e12ede71417a3ea4a89e5c414ed4c689dad1c",
    ),
    (
        ETHERS,
        "the broken form",
        "model",
        "0x1fb0005d4d1bbaff760648b0a023b0864f526fa58f5d94cb2d015c5aa053ad32"
        "55e647ca26f1cc1774095c787cd89d2d7afbcc559fbf9bf3cacadf9c0248b2921c",
    ),
    (
        ETHERS,
        "the broken form, by signingKey.sign",
        "model",
        "0x69e1fdb58d26863ca71fbb4442bc107e6218a717ea774838fe72aeba9414b1f9"
        "394dd17922722def918e52dc419161bba277ba27eadddba0f8564399a7367e491c",
    ),
    (
        ETH_KEYS,
        "the whole body",
        "config",
        "0xabac877d61a96a2fe3d2d675d591084f2b3a6557bacee0be0de8306d18b97231"
        "30906a0df7f1ea460f70196b6b1b77f2d9439c33f31b7229a5f8498ccfe16a0100",
    ),
    (
        ETH_KEYS,
        "body without auth, literal",
        "config",
        "0xff38e0c7e245b1b15f918063e863e2bbb5652bf1a05af0cc425d3e0a0b9b7ed0"
        "62c2a6936bee2f886c5d1f7b69d28de947f2c2bb741dc3a0a65a84388eabb7f601",
    ),
    (
        ETH_KEYS,
        "the whole body",
        "float",
        "0xdc3d68e28460c0f96076be27c996ff2e4db0549e4baa3f1ccce458223818d161"
        "253a3c59d8e3f89509aeda3865e5e47a405610c9dcbd6949ba54d9cbb7f287d400",
    ),
    (
        ETH_KEYS,
        "body without auth, literal",
        "float",
        "0x75339534cd4819ca9c73b9ee071101b4271db4c55626f32b9785db7b33b2c1d8"
        "49fadc9651563bf3fec3c766ddefc3632878c31adc0d55a462ff795625fae62801",
    ),
    (
        ETH_KEYS,
        "the whole body",
        "prompt",
        "0x2a24f9e1bd882942ff0b0f57f14020c4ebdb34228d15a86523a71138ad2711fe"
        "69a29efb375c470044a76d44de89df8e5bef0a4fa4824097a58d189c2d91ee0200",
    ),
    (
        ETH_KEYS,
        "body without auth, literal",
        "prompt",
        "0x42971ba2576c86398ea4ea61f22b3b2a000475ee0f1731c17c4740a11e685757"
        "0b71a3eb46cabc06d0efc8f8ee9985fba2decdf342ae45a6b23d0399f4655d6100",
    ),
    (
        ETH_KEYS,
        "body without auth, escaped",
        "prompt",
        "0xdf9690dd100586a25ad8bb39a1e97bd2bf9096c0b97cc7b27a794ae8b52b91dd"
        "1e5f7f1565d1bf6fed52f952c0c7e214673cb71054ec2cb502a5389d9f6438b600",
    ),
    (
        ETH_KEYS,
        "the whole body",
        "order",
        "0x19adb5b1aa6dd1be3c0f6297e5cb9edf0a22501e2ffd801d286069a221b07a7a"
        "7e987a3aeca5a96658f61fa1413b60716cf2dd79eb84779de855c056f5e16a2000",
    ),
    (
        ETH_KEYS,
        "body without auth, literal",
        "order",
        "0x8459565b05f28bfcab02222834b10ad8a61acb5b61e7bed3a0ef15f8b7c0fb54"
        "13ee2c2f0b44a8ba23cb57182296282ee7618b9deabd8641fa852811cd90852400",
    ),
    (
        ETH_KEYS,
        "body without auth, escaped",
        "order",
        "0x0fb6f964fe4affc0154115a275b3360019acc69eabc2fc58bc7e075f73f87c23"
        "4cf833aecae3644d7e53df15c8c094974fb6359096388151aafc26dbbc4498ec01",
    ),
)
"""(library, how it signed, name in BODIES, the signature it made)."""


def request_cases() -> Iterable[dict[str, Any]]:
    """All of them."""
    yield from _recorded_cases()
    yield from _form_cases()
    yield from _refused_cases()


def _recorded_cases() -> Iterable[dict[str, Any]]:
    for library, how, name, signature in RECORDED:
        endpoint, javascript, python = BODIES[name]
        owner = OWNER if library == ETHERS else OWNER.lower()
        auth = {"publicKey": owner, "signature": signature}
        if library == ETHERS:
            text = javascript[:-1] + ',"auth":' + json.dumps(auth, separators=(",", ":")) + "}"
        else:
            text = python[:-1] + ', "auth": ' + json.dumps(auth) + "}"
        case = _request(f"{library}: {how}: {name}", endpoint, text, owner)
        case["madeBy"] = library
        broken = how.startswith("the broken form")
        why = 'signed over {"auth":{},"overrides":{}}, which does not bind the overrides'
        yield {**case, **({"accepted": False, "why": why} if broken else _signed_over(text, signature))}


def _request(name: str, endpoint: str, body: str, owner: str) -> dict[str, Any]:
    return {"name": name, "endpoint": endpoint, "authorization": f"Bearer {owner}", "body": body}


def _signed_over(text: str, signature: str) -> dict[str, Any]:
    """What an accepted request shows: the payload that was signed, found by signing each: there is one signature."""
    body = as_written(text.encode())
    for form in FORMS:
        signed = payload(body, form)
        for personal in (False, True):
            if signature_text(sign_slowly(SECRET, _hash(signed, personal)))[:-2] == signature[:-2]:
                return {
                    "accepted": True,
                    "payload": signed.decode(),
                    "hash": keccak256(signed).hex(),
                    "personal": personal,
                }
    raise ValueError(f"none of the forms was signed in {text}")


def _hash(signed: bytes, personal: bool) -> bytes:
    return personal_message_hash(keccak256(signed)) if personal else keccak256(signed)


def _sign(text: str, owner: str, form: Form, personal: bool, secret: int = SECRET) -> tuple[str, RecoverableSignature]:
    """The body `text` (without auth) with auth, signed in that form."""
    unsigned = _with_auth(text, owner, "")
    signature = sign_slowly(secret, _hash(payload(as_written(unsigned.encode()), form), personal))
    return _with_auth(text, owner, signature_text(signature)), signature


def _with_auth(text: str, owner: str, signature: str) -> str:
    return f'{text[:-1]},"auth":{{"publicKey":"{owner}","signature":"{signature}"}}}}'


_SHAPES = (
    *("literal", "literal, UTF-16 order", "escaped", "escaped, UTF-16 order", "whole body by json.dumps"),
    *("as sent", "as sent, UTF-16 order", "whole body as sent"),
)


def _form_cases() -> Iterable[dict[str, Any]]:
    """Every form over every kind of value, whoever may write so."""
    text = (
        '{"messages" : [ {"run_id":"r","role":"ai","content":{"\ue000":-0,"é\\u0000":{},'
        '"🦊":[1.50,1E4,0.1e-9,12345678901234567890,true,null]}} ] }'
    )
    sent = (
        r'{"messages":[{"run_id":"r\/1","role":"ai","content":{"caf\u00E9 \uD83E\udd8a":"R\u0026D \u003cb\u003E",'
        r'"\ue000":"\\u0026 \"","🦊":-0}}]}'
    )
    for shape, form in zip(_SHAPES, FORMS, strict=True):
        for personal in (False, True):
            body, signature = _sign(sent if form in FORMS[5:] else text, OWNER, form, personal)
            case = _request(f"{shape}{', personal' * personal}", "/messages", body, OWNER)
            yield {**case, **_signed_over(body, signature_text(signature))}
    body, signature = _sign(BODIES["config"][1], OWNER, FORMS[0], False)
    bare = f"{signature_text(signature)[2:-2]}{signature.v:02x}".upper()
    shown = _signed_over(body, signature_text(signature))
    for name, changed, authorization in (
        ("capitals in the signature, no 0x, bare parity", body.replace(signature_text(signature), bare), OWNER),
        ("the bearer in small letters", body, OWNER.lower()),
        ("publicKey in capitals", body.replace(OWNER, "0x" + OWNER[2:].upper()), OWNER),
        ("white space that the payload does not have", body.replace(":", " : ").replace(",", "\n,"), OWNER),
    ):
        yield {**_request(name, "/config", changed, authorization), **shown}


def _refused_cases() -> Iterable[dict[str, Any]]:
    text = BODIES["config"][1]
    body, signature = _sign(text, OWNER, FORMS[0], False)
    written = signature_text(signature)
    high = hex_signature(signature.r, N - signature.s, 28 - signature.v)
    other = address(public_key_slowly(7))
    float_body, _ = _sign(BODIES["float"][1], OWNER, FORMS[0], False)
    foreign, _ = _sign(text, OWNER, FORMS[0], False, secret=7)
    theirs, _ = _sign(text, other, FORMS[0], False, secret=7)
    python, _ = _sign(text, OWNER, FORM_B, False)
    shown = keccak256(payload(as_written(body.encode()), FORMS[0]))
    text_hash = personal_message_hash(f"0x{shown.hex()}".encode())
    as_text = _with_auth(text, OWNER, signature_text(sign_slowly(SECRET, text_hash)))
    escaped, _ = _sign(r'{"overrides":{"friends_profile":"R\u0026D"}}', OWNER, FORMS[5], False)
    cases = [
        ("a value changed after signing", body.replace("0.9", "0.8"), OWNER),
        ("a member added after signing", body.replace('"model"', '"max_tokens":1,"model"'), OWNER),
        ("a number written otherwise than it was signed", float_body.replace("1e-7", "1e-07"), OWNER),
        ("signed by another key", foreign, OWNER),
        ("another owner's request, under this owner's bearer", theirs, OWNER),
        ("this owner's request, under another bearer", body, other),
        ("publicKey changed after signing the whole body", python.replace(OWNER, OWNER.lower()), OWNER),
        ("publicKey of another owner beside the right signature", body.replace(OWNER, other), OWNER),
        ("publicKey without 0x", body.replace(OWNER, OWNER[2:]), OWNER),
        ("signMessage over the hash as text", as_text, OWNER),
        ("an escape written otherwise than it was signed", escaped.replace("u0026", "u0027"), OWNER),
        ("s in the upper half", body.replace(written, high), OWNER),
        ("v = 29", body.replace(written, written[:-2] + "1d"), OWNER),
        ("no auth", text, OWNER),
        ("auth is no object", text[:-1] + ',"auth":"x"}', OWNER),
        ("auth without a signature", f'{text[:-1]},"auth":{{"publicKey":"{OWNER}"}}}}', OWNER),
        ("the signature is a number", f'{text[:-1]},"auth":{{"publicKey":"{OWNER}","signature":1}}}}', OWNER),
        ("the body is no object", "[]", OWNER),
        ("a bearer that is too short", body, OWNER[:-1]),
        ("a bearer without 0x", body, OWNER[2:]),
        ("a bearer with 0X", body, "0X" + OWNER[2:]),
    ]
    for name, changed, bearer in cases:
        yield {**_request(name, "/config", changed, bearer), "accepted": False}
    yield {**_request("another scheme", "/config", body, OWNER), "authorization": f"Basic {OWNER}", "accepted": False}
    yield {**_request("no authorization", "/config", body, OWNER), "authorization": "", "accepted": False}
    for personal in (False, True):
        yield _broken_case(personal)


def _broken_case(personal: bool) -> dict[str, Any]:
    text = BODIES["batch"][1]
    signed = broken_payload(as_written(_with_auth(text, OWNER, "").encode()))
    signature = signature_text(sign_slowly(SECRET, _hash(signed, personal)))
    name = f"the broken form over a batch{', personal' * personal}"
    case = _request(name, "/batch", _with_auth(text, OWNER, signature), OWNER)
    return {**case, "accepted": False, "why": f"signed over {signed.decode()}, which does not bind the operations"}


def hex_signature(r: int, s: int, v: int) -> str:
    """r ‖ s ‖ v as text, whatever they are."""
    return f"0x{r:064x}{s:064x}{v:02x}"
