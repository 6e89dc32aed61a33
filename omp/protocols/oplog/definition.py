"""The independent checker: what an exported log says, derived again by the shortest way (oplog §1.4, §3 to §5).

It takes the exact bytes of a log's operations, in any order, and derives hashes, signatures, chains, authority and
the state document from nothing else.  With the verifier and the replicator it shares the rules for canonical JSON
and cryptography, and not one line besides: where the two agree on a state ID, a mistake must have been made twice.

Everything is written as the document defines it, not as it is fast: a causal past is a set, kept as the bits of one
integer; "void" is the recursion of §4; taint is a walk over all sources.  Time and space grow with the square of the
log (a past costs one bit for each operation before it): fine for ten thousand operations, slow for a hundred thousand.

It checks what an export claims, that these are one log's accepted operations: signature, ancestors, chain, clock,
references, authorization.  Grammars and limits (§1.5, §2) are the verifier's alone; here a member of the wrong type is
"not an operation".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from omp.rules import canonical, identifiers
from omp.rules.encodings import EncodingError, b64u_decode
from omp.rules.engines import Engine


class Report(NamedTuple):
    """What came out: the operations that hold, by ID, in total order; the rest, each with what is wrong with it.

    `problems` are (operation ID, or None where the bytes give none; a word or code of §3.2).  `document` is the state
    document of the operations that hold, `state_id` its ID.
    """

    log: str | None
    operations: list[str]
    problems: list[tuple[str | None, str]]
    document: bytes
    state_id: str


def check(lines: Iterable[bytes], engine: Engine) -> Report:
    """Check the operations in `lines`, each the exact bytes of one; `engine` verifies the signatures."""
    problems: list[tuple[str | None, str]] = []
    waiting: dict[str, dict[str, Any]] = {}
    for line in lines:
        try:
            name, operation = _read(line, engine)
        except _Wrong as wrong:
            problems.append((wrong.name, wrong.what))
        else:
            waiting.setdefault(name, operation)
    log = _Log(min(waiting.values(), key=lambda operation: operation["lc"])["log"] if waiting else None)
    # In total order each operation comes after its ancestors, unless a clock is wrong: hence "until nothing moves".
    names = sorted(waiting, key=lambda name: (waiting[name]["lc"], name))
    while names:
        left = []
        for name in names:
            if not log.has_ancestors(waiting[name]):
                left.append(name)
            elif problem := log.problem(waiting[name]):
                problems.append((name, problem))
            else:
                log.append(name, waiting[name])
        if len(left) == len(names):
            break
        names = left
    problems += [(name, "DEFER") for name in names]
    document = canonical.canonicalize(log.state())
    return Report(log.log, log.in_total_order(), problems, document, identifiers.state_id(document))


class _Wrong(Exception):
    def __init__(self, name: str | None, what: str) -> None:
        super().__init__(what)
        self.name = name
        self.what = what


_Shape = dict[str, type | tuple[type, ...]]
"""Members and their types; a list is one of strings."""
_NULL = type(None)
_SHAPE: _Shape = {
    "author": str, "body": dict, "deps": list, "lc": int, "log": str, "prev": (str, _NULL), "seq": int,
    "sig": str, "ts": str, "type": str, "v": str,
}  # fmt: skip
_BODY_SHAPES: dict[str, _Shape] = {
    "evidence-ingest": {"evidence": str},
    "claim-assert": {"predicate": str, "derived_from": list},
    "correction": {"target": str, "replacement": (str, _NULL)},
    "refutation": {"target": str},
    "permission-grant": {
        "grantee": str, "caps": list, "scope": dict, "parent": (str, _NULL), "max_depth": int,
        "not_before": (str, _NULL), "expires": (str, _NULL),
    },
    "revocation": {"target": str},
    "inference-call": {"inputs": list, "grant": (str, _NULL)},
}  # fmt: skip
_SCOPE_SHAPE: _Shape = {"predicates": list, "provenance": str, "ops": list}


def _read(line: bytes, engine: Engine) -> tuple[str, dict[str, Any]]:
    """The ID and the envelope of one operation: canonical bytes, hash, signature."""
    try:
        operation = canonical.decode(line)
    except canonical.CanonicalError:
        raise _Wrong(None, "not canonical JSON") from None
    if not _is_operation(operation):
        raise _Wrong(None, "not an operation")
    unsigned = {member: value for member, value in operation.items() if member != "sig"}
    preimage = b"omp/0.2\n" + canonical.canonicalize(unsigned)  # §1.4
    name = identifiers.operation_id(preimage)
    try:
        key, signature = identifiers.public_key_of(operation["author"]), b64u_decode(operation["sig"])
    except EncodingError:
        raise _Wrong(name, "ERR_SIGNATURE") from None
    if len(signature) != 64 or not engine.verify(key, preimage, signature):
        raise _Wrong(name, "ERR_SIGNATURE")
    return name, operation


def _is_operation(value: dict[str, Any]) -> bool:
    if not _has(value, _SHAPE) or value["v"] != "omp/0.2" or value["type"] not in _BODY_SHAPES:
        return False
    body = value["body"]
    if not _has(body, _BODY_SHAPES[value["type"]]):
        return False
    return value["type"] != "permission-grant" or _has({"ops": [], **body["scope"]}, _SCOPE_SHAPE)


def _has(value: Any, shape: _Shape) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(member, ...), kind)
        and (kind is not list or all(isinstance(element, str) for element in value[member]))
        for member, kind in shape.items()
    )


class _Log:
    """The operations that hold so far, numbered in the order of taking them in: after their ancestors.

    Lists are indexed by number: `names`, `operations`, `past` (the bits of the numbers in past(O)), `auth` (the grants
    in Auth(O), by number).  `by_type` and `targeting` give the numbers of a type, and those that target an ID.
    """

    def __init__(self, log: str | None) -> None:
        self.log = log
        self.root = f"omp:key:ed25519:{log.rpartition(':')[2]}" if log else None
        self.names: list[str] = []
        self.operations: list[dict[str, Any]] = []
        self.past: list[int] = []
        self.auth: list[list[int]] = []
        self.number: dict[str, int] = {}
        self.by_type: dict[str, list[int]] = {kind: [] for kind in _BODY_SHAPES}
        self.targeting: dict[str, list[int]] = {}
        self._void: dict[int, bool] = {}

    # --- §3.2, stages 8 to 12

    def has_ancestors(self, operation: dict[str, Any]) -> bool:
        return all(parent in self.number for parent in _parents(operation))

    def problem(self, operation: dict[str, Any]) -> str | None:
        if operation["log"] != self.log:
            return "of another log"
        prev = self.operations[self.number[operation["prev"]]] if operation["prev"] is not None else None
        if (prev is None) != (operation["seq"] == 1):
            return "ERR_CHAIN"
        if prev is not None and (prev["author"], prev["seq"]) != (operation["author"], operation["seq"] - 1):
            return "ERR_CHAIN"
        clock = max((self.operations[self.number[parent]]["lc"] for parent in _parents(operation)), default=0)
        if not clock < operation["lc"] <= clock + 2**20:
            return "ERR_CLOCK"
        past = self._past_of(operation)
        if not self._references_hold(operation, past):
            return "ERR_REF"
        return None if self._authority(operation, past) is not None else "ERR_AUTHZ"

    def append(self, name: str, operation: dict[str, Any]) -> None:
        past = self._past_of(operation)
        self.number[name] = number = len(self.names)
        self.by_type[operation["type"]].append(number)
        if "target" in operation["body"]:
            self.targeting.setdefault(operation["body"]["target"], []).append(number)
        self.names.append(name)
        self.operations.append(operation)
        self.past.append(past)
        self.auth.append(self._authority(operation, past) or [])

    def _past_of(self, operation: dict[str, Any]) -> int:
        past = 0
        for parent in _parents(operation):
            past |= self.past[self.number[parent]] | 1 << self.number[parent]
        return past

    def _references_hold(self, operation: dict[str, Any], past: int) -> bool:
        body = operation["body"]
        wanted: dict[str, list[tuple[list[str | None], tuple[str, ...]]]] = {
            "evidence-ingest": [],
            "claim-assert": [(body.get("derived_from"), ("evidence-ingest", "claim-assert", "inference-call"))],
            "correction": [([body.get("target")], ("claim-assert",)), ([body.get("replacement")], ("claim-assert",))],
            "refutation": [([body.get("target")], ("claim-assert", "evidence-ingest"))],
            "permission-grant": [([body.get("parent")], ("permission-grant",))],
            "revocation": [([body.get("target")], ("permission-grant",))],
            "inference-call": [
                (body.get("inputs"), ("claim-assert", "evidence-ingest")),
                ([body.get("grant")], ("permission-grant",)),
            ],
        }
        for names, types in wanted[operation["type"]]:
            for name in names:
                if name is None:
                    continue
                number = self.number.get(name)
                if number is None or not past >> number & 1 or self.operations[number]["type"] not in types:
                    return False
        return not (operation["type"] == "correction" and body["replacement"] == body["target"])

    # --- §4: Auth(O)

    def _authority(self, operation: dict[str, Any], past: int) -> list[int] | None:
        """Auth(O), empty for the root; None where the operation is not allowed."""
        kind, body, author = operation["type"], operation["body"], operation["author"]
        if kind == "permission-grant":
            above = self._lineage(self.number[body["parent"]]) if body["parent"] is not None else []
            taken = [self.root, author, *(self.operations[number]["body"]["grantee"] for number in above)]
            if body["grantee"] in taken:
                return None
        under = body.get("parent") if kind == "permission-grant" else body.get("grant")
        if author == self.root:
            allowed = under is None and not (operation["seq"] == 1 and operation["deps"])
            return [] if allowed else None
        if kind == "revocation" and self._body(body["target"])["grantee"] == author:  # a renunciation
            candidates = [self.number[body["target"]]]
        else:
            candidates = [
                number
                for number in self.by_type["permission-grant"]
                if past >> number & 1
                and self.operations[number]["body"]["grantee"] == author
                and self._covers(number, operation)
            ]
        return [number for number in candidates if not self._revoked_in(past, number)] or None

    def _body(self, name: str) -> dict[str, Any]:
        body: dict[str, Any] = self.operations[self.number[name]]["body"]
        return body

    def _lineage(self, grant: int) -> list[int]:
        """A grant and its ancestors over `parent`."""
        parent = self.operations[grant]["body"]["parent"]
        return [grant] + (self._lineage(self.number[parent]) if parent is not None else [])

    def _revocations_of(self, grant: int) -> list[int]:
        """The revocations that target the grant or an ancestor."""
        return [one for above in self._lineage(grant) for one in self.targeting.get(self.names[above], [])]

    def _revoked_in(self, past: int, grant: int) -> bool:
        return any(past >> number & 1 for number in self._revocations_of(grant))

    def _covers(self, grant: int, operation: dict[str, Any]) -> bool:
        terms, kind, body = self.operations[grant]["body"], operation["type"], operation["body"]
        patterns = terms["scope"]["predicates"]

        def matching(names: Iterable[str]) -> bool:
            named = [self.operations[self.number[name]] for name in names]
            claims = [one["body"] for one in named if one["type"] == "claim-assert"]
            return all(_matches(claim["predicate"], patterns) for claim in claims)

        def on_evidence(names: Iterable[str]) -> bool:
            return any(self.operations[self.number[name]]["type"] == "evidence-ingest" for name in names)

        if "author" not in terms["caps"] or kind not in terms["scope"].get("ops", [kind]):
            return False
        if (terms["not_before"] or "") > operation["ts"] or operation["ts"] >= (terms["expires"] or "~"):
            return False
        if kind == "claim-assert":
            return _matches(body["predicate"], patterns)
        if kind == "correction":
            return matching(name for name in (body["target"], body["replacement"]) if name is not None)
        if kind == "refutation":
            return "*" in patterns if on_evidence([body["target"]]) else matching([body["target"]])
        if kind == "permission-grant":
            return "delegate" in terms["caps"] and body["parent"] == self.names[grant] and _attenuates(body, terms)
        if kind == "revocation":
            return grant in self._lineage(self.number[body["target"]])[1:]
        if kind == "inference-call":
            sees_evidence = terms["scope"]["provenance"] == "full" or not on_evidence(body["inputs"])
            named = body["grant"] == self.names[grant]
            return "infer" in terms["caps"] and named and sees_evidence and matching(body["inputs"])
        return True

    # --- §4: void and effective

    def void(self, number: int) -> bool:
        if number not in self._void:
            grants = self.auth[number]
            self._void[number] = bool(grants) and all(self._is_cut(number, grant) for grant in grants)
        return self._void[number]

    def _is_cut(self, number: int, grant: int) -> bool:
        if any(self.void(above) for above in self._lineage(grant)):
            return True
        return any(
            not self._renounces(revocation) and not self.past[revocation] >> number & 1 and not self.void(revocation)
            for revocation in self._revocations_of(grant)
        )

    def _renounces(self, revocation: int) -> bool:
        operation = self.operations[revocation]
        return bool(self._body(operation["body"]["target"])["grantee"] == operation["author"])

    # --- §5

    def state(self) -> dict[str, Any]:
        sources = self._transitive_sources()
        status = {number: self._status(number) for number in range(len(self.names))}
        taint = {number: self._taint(number, sources, status) for number in sources}
        referenced = {parent for operation in self.operations for parent in _parents(operation)}
        return {
            "claims": self._objects("claim-assert", lambda n: {
                "effective": status[n] == "active" and not taint[n],
                "refuted_by": self._targeting(n, "refutation"),
                "replacement": self._replacement(n),
                "status": status[n],
                "superseded_by": self._corrections(n),
                "taint": taint[n],
            }),
            "evidence": self._objects("evidence-ingest", lambda n: {
                "refuted_by": self._targeting(n, "refutation"), "status": status[n],
            }),
            "forks": self._forks(),
            "grants": self._objects("permission-grant", lambda n: {
                "revoked_by": sorted(self.names[r] for r in self._revocations_of(n) if not self.void(r)),
                "status": status[n],
            }),
            "heads": sorted(set(self.names) - referenced),
            "inferences": self._objects("inference-call", lambda n: {"status": status[n], "taint": taint[n]}),
            "log": self.log,
            "ops": len(self.names),
            "v": "omp/0.2",
            "void": sorted(self.names[number] for number in range(len(self.names)) if self.void(number)),
        }  # fmt: skip

    def _objects(self, kind: str, members: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
        objects = [{"id": self.names[number], **members(number)} for number in self.by_type[kind]]
        return sorted(objects, key=lambda one: one["id"])

    def in_total_order(self, names: Iterable[str] | None = None) -> list[str]:
        return sorted(
            self.names if names is None else names, key=lambda name: (self.operations[self.number[name]]["lc"], name)
        )

    def _targeting(self, number: int, kind: str) -> list[str]:
        """The non-void operations of a type that target an operation, sorted by ID."""
        return sorted(
            self.names[one]
            for one in self.targeting.get(self.names[number], [])
            if self.operations[one]["type"] == kind and not self.void(one)
        )

    def _corrections(self, claim: int) -> list[str]:
        return self.in_total_order(self._targeting(claim, "correction"))

    def _replacement(self, claim: int) -> str | None:
        corrections = self._corrections(claim)
        return self._body(corrections[-1])["replacement"] if corrections else None

    def _status(self, number: int) -> str:
        if self.void(number):
            return "void"
        kind = self.operations[number]["type"]
        if kind == "permission-grant":
            cut = any(self.void(above) for above in self._lineage(number))
            return "revoked" if cut or any(not self.void(r) for r in self._revocations_of(number)) else "active"
        if kind in ("claim-assert", "evidence-ingest") and self._targeting(number, "refutation"):
            return "refuted"
        if kind == "claim-assert" and self._targeting(number, "correction"):
            return "superseded"
        return "active"

    def _transitive_sources(self) -> dict[int, set[int]]:
        sources: dict[int, set[int]] = {}
        for number, operation in enumerate(self.operations):
            if operation["type"] in ("evidence-ingest", "claim-assert", "inference-call"):
                body = operation["body"]
                direct = {self.number[name] for name in body.get("derived_from") or body.get("inputs") or []}
                sources[number] = direct.union(*(sources[source] for source in direct))
        return sources

    def _taint(self, number: int, sources: dict[int, set[int]], status: dict[int, str]) -> list[str]:
        rests_on = {self.names[one] for one in sources[number] | {number}}
        return sorted(
            self.names[source]
            for source in sources[number]
            if status[source] != "active"
            and not (
                status[source] == "superseded"
                and any(self._body(correction)["replacement"] in rests_on for correction in self._corrections(source))
            )
        )

    def _forks(self) -> list[dict[str, Any]]:
        places: dict[tuple[str, int], list[str]] = {}
        for name, operation in zip(self.names, self.operations, strict=True):
            places.setdefault((operation["author"], operation["seq"]), []).append(name)
        return [
            {"author": author, "ops": sorted(names), "seq": seq}
            for (author, seq), names in sorted(places.items())
            if len(names) > 1
        ]


def _parents(operation: dict[str, Any]) -> list[str]:
    return operation["deps"] + ([operation["prev"]] if operation["prev"] is not None else [])  # type: ignore[no-any-return]


def _matches(predicate: str, patterns: list[str]) -> bool:
    """§2.2: a predicate P matches `*` always, pattern P exactly, and `Q.*` where P is Q or starts with `Q.`."""
    for pattern in patterns:
        q = pattern.removesuffix(".*")
        if pattern in ("*", predicate) or (q != pattern and (predicate == q or predicate.startswith(q + "."))):
            return True
    return False


def _attenuates(body: dict[str, Any], terms: dict[str, Any]) -> bool:
    """§4: whether a grant with this body attenuates one with these terms."""
    scope, above = body["scope"], terms["scope"]
    if not set(body["caps"]) <= set(terms["caps"]) or body["max_depth"] >= terms["max_depth"]:
        return False
    for pattern in scope["predicates"]:
        covered = pattern in above["predicates"] or "*" in above["predicates"]
        for wider in above["predicates"]:
            q = wider.removesuffix(".*")
            covered = covered or (q != wider and (pattern == q or pattern.startswith(q + ".")))
        if not covered:
            return False
    if scope["provenance"] == "full" and above["provenance"] == "none":
        return False
    if "ops" in above and not ("ops" in scope and set(scope["ops"]) <= set(above["ops"])):
        return False
    if terms["not_before"] is not None and (body["not_before"] or "") < terms["not_before"]:
        return False
    return terms["expires"] is None or (body["expires"] is not None and body["expires"] <= terms["expires"])
