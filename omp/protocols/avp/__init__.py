"""The AVP zero-knowledge vault, 0.4, HTTP/JSON profile (avp.md): a shared secret payload that the server cannot read.

A member is an Ed25519 key.  A repository is a manifest (its members, each with the data key wrapped to it, and two
counters) and one envelope, the payload encrypted under the data key.  The server keeps both as they came, lets only
members in, and makes every check-and-write one step.  It holds no key and decrypts nothing.

Reading order:

* `messages`: the schemas of every message, and the table of refusals;
* `repository`: what each operation makes of a repository, pure functions over one value;
* `sessions`: challenges and tokens;
* `routes`: the handlers, in the document's order, and the route table.

The client's half, for teaching, tests and ``python -m omp vault`` (it needs `cryptography`, and no server
module imports it):

* `sealing`: AAD, payload encryption, key wrap, key binding;
* `joining`: join tokens and ``avp://`` addresses;
* `member`: a member's keys, and the requests it makes of them.

`sessions` and `routes` know the store, `routes` the web; all others are pure.
"""

from omp.protocols.avp.routes import SETTINGS, mount

__all__ = ["SETTINGS", "mount"]
