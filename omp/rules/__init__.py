"""The rules: pure functions and values that the protocols share, without I/O, clock or global state.

Bytes and values go in, values come out.  What needs the time or randomness is given it as an argument.  Nothing here
imports from the other floors (``store``, ``web``, ``protocols``), so the folder can be read, tested and copied alone.
Within it some files need others: ``canonical`` needs ``json_text``, ``identifiers`` needs ``encodings``.

One idea comes back in most of what is here: a value has one sequence of bytes, the bytes have a hash, and a key signs
them.  The operation log is built on all three; other protocols use what they need of it.

>>> from omp.rules.canonical import canonicalize
>>> from omp.rules.ed25519 import public_key_slowly, sign_slowly, verify
>>> from omp.rules.identifiers import evidence_id, key_id
>>> message = canonicalize({"b": 1.0, "a": "€"})
>>> message.decode(), evidence_id(message)[:20]
('{"a":"€","b":1}', 'omp:ev:sha256:2c6fbb')
>>> seed = bytes(range(32))  # for a real secret key: omp.rules.engines.secret_keys()
>>> key_id(public_key_slowly(seed))
'omp:key:ed25519:A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg'
>>> verify(public_key_slowly(seed), message, sign_slowly(seed, message))
True

The files, in reading order:

* ``encodings``: base64url, base64 and hex, with exactly one text for each byte string;
* ``json_text``: JSON on the way in, with bounds;
* ``canonical``: canonical JSON, RFC 8785, and the decoder of its strict subset OMP-CJ;
* ``large_json``: large values, written in parts;
* ``identifiers``: what names keys and, by their hash, everything else in an operation log;
* ``ed25519``: signatures by hand, in RFC 8032's letters, and which of them verify;
* ``engines``: the same verdicts from ``cryptography`` where it is installed, and secret keys;
* ``structured_fields``: the values of HTTP header fields, RFC 8941;
* ``signature_base``: what an HTTP signature covers, RFC 9421 §2, and ``Content-Digest``, RFC 9530;
* ``http_signatures``: HTTP Message Signatures, made and verified, RFC 9421;
* ``schema``: the subset of JSON Schema that checks requests and describes them in OpenAPI.

Every name without a leading underscore is public.  ``omp/SPEC.md`` specifies what these files implement; the vectors in
``vectors/canonical``, ``vectors/ed25519``, ``vectors/structured_fields`` and ``vectors/http_signatures`` test it.
"""
