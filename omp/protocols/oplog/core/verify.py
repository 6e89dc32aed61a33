"""The verifier: the twelve stages of oplog §3.2, as the table :data:`STAGES`.

They run in order, and the first that fails names the code.  Stages 1 to 7 look at bytes alone (:func:`check_bytes`):
they are the expensive ones, need no lock, and give an :class:`Operation`.  Stage 8 asks whether this node holds the
operation's parents, so only there the answer differs between nodes: one may have to wait where the other has them.
Stages 9 to 12 look at the operation's causal past alone, so their verdict is the same on every node and in every order
of arrival.  :func:`judge` runs stages 8 to 12.  Each writes what it finds into a :class:`~.causality.Candidate`, and
asks the log only what :class:`~.causality.LogView` offers.

The first failing stage is raised as :class:`OperationRefused`, with its code, its number and one sentence.  A missing
ancestor is not an error, since the operation only waits.  It is raised all the same, as the subclass
:class:`OperationDeferred`: the stage did not pass, and a caller who has nowhere to let operations wait, as a producer
has not, handles it like every other refusal.  Whatever the bytes are, nothing else is raised.  The vectors test both
the verdicts and the codes.

Handled here: everything that a stranger can put into bytes.  The caller must bound the size of what it reads, and must
keep the log unchanged while :func:`judge` runs and until its verdict is acted on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from omp.protocols.oplog.core.authority import authorize
from omp.protocols.oplog.core.causality import Candidate, LogView, Past
from omp.protocols.oplog.core.operation import (
    MAX_CLOCK_STEP,
    VERSION,
    Operation,
    limit_problem,
    preimage,
    range_problem,
    references,
    schema_problem,
)
from omp.rules import canonical, identifiers
from omp.rules.encodings import b64u_decode
from omp.rules.engines import Engine


class OplogError(Exception):
    """The base of everything that the operation log raises about a peer's mistake."""


class OperationRefused(OplogError):
    """A stage refused an operation: `code`, `stage` (its number) and `message`, a sentence for the sender.

    `id` is the operation ID, or None before stage 4 (§7).
    """

    def __init__(self, code: str, stage: int, message: str, operation_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.stage = stage
        self.message = message
        self.id = operation_id


class OperationMalformed(OperationRefused):
    """Refused by stages 1 to 6: it is not in the form of an operation, whoever signed it."""


class OperationDeferred(OperationRefused):
    """Stage 8: the parents `missing` are not stored, ``prev`` first, then in the order of ``deps``.

    Not final, unlike every other refusal: catch it first where an operation can wait.
    """

    def __init__(self, code: str, stage: int, message: str, operation_id: str, missing: list[str]) -> None:
        super().__init__(code, stage, message, operation_id)
        self.missing = missing


# --- Stages 1 to 7: the bytes -----------------------------------------------------------------------------------


class _Draft:
    """Bytes on their way to an :class:`Operation`; each stage leaves here what later ones need."""

    __slots__ = ("bytes_held", "data", "engine", "envelope", "log", "not_canonical", "operation_id", "preimage")

    def __init__(self, data: bytes, engine: Engine, log: str | None, bytes_held: Callable[[str], bytes | None]) -> None:
        self.data = data
        self.engine = engine
        self.log = log
        self.bytes_held = bytes_held
        self.envelope: dict[str, Any] = {}
        self.not_canonical: str | None = None
        self.preimage = b""
        self.operation_id: str | None = None


def _encoding(draft: _Draft) -> str | None:
    # One decoder settles stages 1 and 2 and says which of them failed; stage 2 reports it when its turn comes.
    try:
        draft.envelope = canonical.decode(draft.data)
    except canonical.Malformed as error:
        return str(error)
    except canonical.NotCanonical as error:
        draft.not_canonical = str(error)
    return None


def _canonical(draft: _Draft) -> str | None:
    # Nothing is ever canonicalized for a sender.  If two texts could mean one operation, a signature would cover bytes
    # that nobody has sent, and two nodes could keep different bytes without knowing it.
    return draft.not_canonical


def _version(draft: _Draft) -> str | None:
    # The version comes before the schema, since it says which schema.  It also opens the preimage (§1.4), so that a
    # signature made for one version, or for another protocol, means nothing in this one.
    if draft.envelope.get("v") != VERSION:
        return f"v must be {VERSION}"
    draft.preimage = preimage(draft.envelope)
    draft.operation_id = identifiers.operation_id(draft.preimage)
    return None


def _schema(draft: _Draft) -> str | None:
    problem = schema_problem(draft.envelope)
    if problem is None and draft.log is not None and draft.envelope["log"] != draft.log:
        return f"this operation belongs to {draft.envelope['log']}, not to the log it was sent to"  # §7
    return problem


def _limits(draft: _Draft) -> str | None:
    # Before the signature: what is too large must not cost a verification.
    return limit_problem(draft.data, draft.envelope)


def _ranges(draft: _Draft) -> str | None:
    return range_problem(draft.envelope)


def _signature(draft: _Draft) -> str | None:
    # The last stage without a lock.  From here on each byte is known to come from the author it names.
    assert draft.operation_id is not None  # stage 3 set it
    if draft.bytes_held(draft.operation_id) == draft.data:
        return None  # these very bytes were verified when they first came
    public_key = identifiers.public_key_of(draft.envelope["author"])
    if not draft.engine.verify(public_key, draft.preimage, b64u_decode(draft.envelope["sig"])):
        return "sig is not the author's signature of this operation"
    return None


# --- Stages 8 to 12: the causal past ----------------------------------------------------------------------------


def ancestors(candidate: Candidate) -> str | None:
    """Stage 8: set the parents of a candidate, and what is missing of them; returns a sentence if anything is."""
    # Only a complete past can be judged as it is judged elsewhere.  To ask for the parents is enough: the stored set is
    # closed, so with a parent all of its past is here.
    operation, entry = candidate.operation, candidate.log.entry
    for parent in operation.parents():
        if (found := entry(parent)) is None:
            candidate.missing.append(parent)
        elif parent == operation.prev:
            candidate.prev = found
        else:
            candidate.deps.append(found)
    return "it waits for operations that are not here yet" if candidate.missing else None


def _chain(candidate: Candidate) -> str | None:
    # An author numbers its own operations without gaps, so nobody can leave one out and hide it.
    operation, prev = candidate.operation, candidate.prev
    if (prev is None) != (operation.seq == 1):
        return "prev must be null where seq is 1, and nowhere else"
    if prev is not None and (prev.author != operation.author or prev.seq != operation.seq - 1):
        return "prev must be the same author's operation with seq one less"
    return None


def _clock(candidate: Candidate) -> str | None:
    # The upper bound is against a sender who sets lc to the greatest integer: nobody could ever append after that.
    greatest = max((dep.lc for dep in candidate.deps), default=0)
    if candidate.prev is not None:
        greatest = max(greatest, candidate.prev.lc)
    if greatest < candidate.operation.lc <= greatest + MAX_CLOCK_STEP:
        return None
    return f"lc must be greater than {greatest}, the greatest clock of prev and deps, by at most {MAX_CLOCK_STEP}"


def _references(candidate: Candidate) -> str | None:
    # In the past, and not merely stored here: else the verdict would depend on what else this node happens to hold.
    operation = candidate.operation
    candidate.past = past = Past(candidate.prev, candidate.deps)
    for name, ids, types in references(operation.type, operation.body):
        entries = candidate.named[name] = []
        for operation_id in ids:
            found = candidate.log.entry(operation_id)
            if found is None or not past.holds(found):
                return f"body.{name} names {operation_id}, which is not in this operation's past"
            if found.type not in types:
                return f"body.{name} names {operation_id}, a {found.type}; it must be a {' or '.join(types)}"
            entries.append(found)
    if candidate.named.get("replacement", ()) == candidate.named.get("target"):
        return "body.replacement must not be the target itself"  # §2.2
    return None


# --- The table --------------------------------------------------------------------------------------------------


class Stage(NamedTuple):
    """One stage of §3.2: `check` returns None, or a sentence that says what is wrong."""

    number: int
    name: str
    code: str
    check: Callable[[Any], str | None]


STAGES = (
    Stage(1, "encoding", "ERR_ENCODING", _encoding),
    Stage(2, "canonical", "ERR_CANONICAL", _canonical),
    Stage(3, "version", "ERR_VERSION", _version),
    Stage(4, "schema", "ERR_SCHEMA", _schema),
    Stage(5, "limits", "ERR_LIMIT", _limits),
    Stage(6, "range", "ERR_RANGE", _ranges),
    Stage(7, "signature", "ERR_SIGNATURE", _signature),
    Stage(8, "ancestors", "DEFER", ancestors),
    Stage(9, "chain", "ERR_CHAIN", _chain),
    Stage(10, "clock", "ERR_CLOCK", _clock),
    Stage(11, "references", "ERR_REF", _references),
    Stage(12, "authorization", "ERR_AUTHZ", authorize),
)
_OF_THE_BYTES = STAGES[:7]
_OF_THE_PAST = STAGES[7:]
_OF_THE_FORM = STAGES[:6]


def _nothing_held(operation_id: str) -> bytes | None:
    return None


def check_bytes(
    data: bytes, engine: Engine, log: str | None = None, bytes_held: Callable[[str], bytes | None] = _nothing_held
) -> Operation:
    """Run stages 1 to 7.  Returns the operation whose exact bytes are `data`; whether it is a duplicate is not asked.

    `log`, if given, is the log it was sent to (§7).  `bytes_held` maps an operation ID to the bytes that are held under
    it, so that the same bytes are not verified twice (:meth:`Replica.bytes_held`).  Raises :class:`OperationMalformed`
    for stages 1 to 6, :class:`OperationRefused` for stage 7.
    """
    draft = _Draft(data, engine, log, bytes_held)
    for stage in _OF_THE_BYTES:
        if problem := stage.check(draft):
            refusal = OperationMalformed if stage in _OF_THE_FORM else OperationRefused
            raise refusal(stage.code, stage.number, problem, draft.operation_id)
    assert draft.operation_id is not None
    return Operation(data, draft.operation_id, draft.envelope)


def judge(operation: Operation, log: LogView) -> Candidate:
    """Run stages 8 to 12 for an operation that is not stored.  Returns the candidate, with what they found out.

    Raises :class:`OperationDeferred` if parents are missing, :class:`OperationRefused` for the other stages.
    """
    candidate = Candidate(operation, log)
    for stage in _OF_THE_PAST:
        if problem := stage.check(candidate):
            if stage.code == "DEFER":
                raise OperationDeferred(stage.code, stage.number, problem, operation.id, candidate.missing)
            raise OperationRefused(stage.code, stage.number, problem, operation.id)
    return candidate
