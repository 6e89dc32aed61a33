"""``python -m omp log``: the producer, the verifier and a peer of one log, on the command line.

`init` makes a key.  `grant`, `ingest`, `claim`, `correct`, `refute`, `revoke` and `infer` each append an operation and
print its ID.  `show` and `why` say what follows from the log, `list` and `graph` what is in it.  `verify` runs the
definition, which shares no code with the rest, over any export.  `push`, `pull` and `sync` exchange operations with
servers.

This module is the command line.  The work is in `writing`, `showing` and `exchange`; they use `selecting` (what the
arguments mean), `files` (the log and its key on disk), `peer` (requests to a server), `text` (lines for people) and
`lanes` (the drawing).

An operation is named by its ID or by its first digits, as they are shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from omp.protocols.oplog.core.operation import CAPABILITIES, TYPES
from omp.tools.log.exchange import pull, push, sync
from omp.tools.log.showing import graph, list_, show, verify, why
from omp.tools.log.writing import claim, correct, grant, infer, ingest, init, refute, revoke
from omp.tools.options import argument_url, json_option, server_option

HELP = "keep a signed operation log: claims, evidence, grants; check and exchange it"

_ID = "an operation ID or its first digits"
_RESULT = "the result as one JSON document"


def configure(parser: argparse.ArgumentParser) -> None:
    """The subcommands and their options."""
    parser.epilog = """examples:
  python -m omp log init                                    a new log, its root key in log.key
  python -m omp log ingest dentist.ics --source calendar:ics
  python -m omp log claim calendar.event '{"title":"Dentist"}' --from 0f3a --method rule:event/1
  python -m omp log show
  python -m omp log push http://127.0.0.1:8787
each subcommand has --help, with examples"""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for work, add, examples in COMMANDS:
        help_line = (work.__doc__ or "").splitlines()[0]
        sub = commands.add_parser(
            work.__name__.rstrip("_"),
            help=help_line,
            description=help_line,
            epilog="examples:\n" + "\n".join(f"  python -m omp log {example}" for example in examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(work=work)
        sub.add_argument(
            "--log", type=Path, default=Path("log.ndjson"), metavar="FILE", help="the log (default: %(default)s)"
        )
        sub.add_argument("--key", type=Path, metavar="FILE", help="its key (default: as the log, with .key at the end)")
        json_option(sub, "the state document, or the operation asked for" if work is show else _RESULT)
        add(sub)


def _of_init(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--device-of", metavar="LOG", help="no new log: a key that is to write to this one (omp:id:…)")


def _of_grant(sub: argparse.ArgumentParser) -> None:
    option = sub.add_argument
    option("grantee", metavar="KEY", help="the key ID that `init --device-of` printed")
    option("--caps", default="author,read", help=f"out of {','.join(CAPABILITIES)} (default: %(default)s)")
    option("--predicates", default="*", help="patterns such as calendar.*,health.sleep (default: %(default)s, all)")
    option(
        "--provenance",
        choices=("full", "none"),
        default="full",
        help="whether it sees what claims are derived from (default: %(default)s)",
    )
    option("--ops", help=f"only these types, out of {','.join(TYPES)}")
    option("--parent", metavar="GRANT", help="the grant to act under (default: the first of yours that allows it)")
    option(
        "--max-depth",
        type=int,
        default=0,
        metavar="N",
        help="how many levels of grants may follow under it (default: 0)",
    )
    option("--not-before", metavar="TIME", help="as 2026-05-17T09:30:00.000Z")
    option("--expires", metavar="TIME", help="as 2026-05-17T09:30:00.000Z")


def _of_ingest(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("file", metavar="FILE", help="the evidence; - is standard input")
    sub.add_argument("--media-type", metavar="TYPE", help="as text/calendar (default: by the file's name)")
    sub.add_argument("--source", default="file", help="the adapter it came through (default: %(default)s)")
    sub.add_argument("--observed-at", metavar="TIME", help="as 2026-05-17T09:30:00.000Z")


def _of_claim(sub: argparse.ArgumentParser) -> None:
    option = sub.add_argument
    option("predicate", help="as calendar.event")
    option("object", help="JSON, or text")
    option("--subject", default="self", help="whom it is about (default: %(default)s)")
    option("--from", dest="derived_from", nargs="+", default=[], metavar="ID", help="what it is derived from")
    option("--method", default="user:typed", help="how it was found (default: %(default)s, a direct statement)")
    option("--confidence", type=int, default=1_000_000, metavar="PPM", help="0 to 1000000 (default: %(default)s)")


def _with_reason(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--reason", default="", metavar="TEXT", help="why")


def _of_correct(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("claim", metavar="CLAIM", help=_ID)
    sub.add_argument("--by", metavar="CLAIM", help="the claim that replaces it")
    _with_reason(sub)


def _of_refute(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("target", metavar="ID", help=f"a claim or evidence: {_ID}")
    _with_reason(sub)


def _of_revoke(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("grant", metavar="GRANT", help=_ID)
    _with_reason(sub)


def _of_infer(sub: argparse.ArgumentParser) -> None:
    option = sub.add_argument
    option("inputs", nargs="+", metavar="ID", help=f"claims or evidence: {_ID}")
    option("--purpose", required=True, metavar="TEXT", help="what it was called for")
    option("--model", required=True, metavar="NAME", help="what was called")
    option("--grant", metavar="GRANT", help="the grant to act under (default: the first of yours that allows it)")
    option("--output", metavar="FILE", help="what came out: a file, or an evidence ID")


def _of_show(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("id", nargs="?", metavar="ID", help=f"one operation: {_ID}")


def _without_more(sub: argparse.ArgumentParser) -> None:
    """No option of its own."""


def _of_graph(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--dot", action="store_true", help="in the language of Graphviz")


def _of_why(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("claim", metavar="CLAIM", help=_ID)


def _of_verify(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("file", nargs="?", metavar="FILE", help="ndjson; - is standard input (default: the log)")


def _of_peer(sub: argparse.ArgumentParser) -> None:
    server_option(sub)
    sub.add_argument("url", nargs="?", type=argument_url, metavar="URL", help="another server than that of --server")


def _of_pull(sub: argparse.ArgumentParser) -> None:
    _of_peer(sub)
    sub.add_argument("--id", metavar="LOG", help="which log (default: that of the file or the key)")


def _of_sync(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("url", type=argument_url, metavar="URL", help="a server, as http://127.0.0.1:8787")
    sub.add_argument("other", type=argument_url, nargs="?", metavar="URL", help="another (default: that of --server)")
    server_option(sub)
    sub.add_argument("--id", metavar="LOG", help="which log (default: that of the file or the key)")


_Command = tuple[Callable[[argparse.Namespace], None], Callable[[argparse.ArgumentParser], None], tuple[str, ...]]
COMMANDS: tuple[_Command, ...] = (
    (init, _of_init, ("init", "init --log phone.ndjson --device-of omp:id:ed25519:…")),
    (
        grant,
        _of_grant,
        (
            "grant omp:key:ed25519:… --caps author,delegate,infer,read --max-depth 2",
            "grant omp:key:ed25519:… --caps read --predicates calendar.* --provenance none",
        ),
    ),
    (ingest, _of_ingest, ("ingest dentist.ics --source calendar:ics", "ingest - --media-type text/plain < note")),
    (
        claim,
        _of_claim,
        ("claim name.first Ada", """claim calendar.event '{"title":"Dentist"}' --from 0f3a --method rule:event/1"""),
    ),
    (correct, _of_correct, ("correct 0f3a --by 77c0 --reason moved", "correct 0f3a")),
    (refute, _of_refute, ('refute 0f3a --reason "cancelled by phone"',)),
    (revoke, _of_revoke, ("revoke 0f3a --reason lost",)),
    (infer, _of_infer, ("infer 0f3a 77c0 --purpose summary --model small-1 --output summary.txt",)),
    (show, _of_show, ("show", "show 0f3a", "show --json")),
    (list_, _without_more, ("list", "list --json")),
    (graph, _of_graph, ("graph", "graph --dot")),
    (why, _of_why, ("why 0f3a", "why 0f3a --json")),
    (verify, _of_verify, ("verify", "verify export.ndjson")),
    (push, _of_peer, ("push http://127.0.0.1:8787",)),
    (
        pull,
        _of_pull,
        ("pull http://127.0.0.1:8787", "pull http://127.0.0.1:8787 --log copy.ndjson --id omp:id:ed25519:…"),
    ),
    (sync, _of_sync, ("sync http://127.0.0.1:8787 https://backup.example",)),
)
"""Each subcommand: the function that does it and has its name (`list_` that of `list`), its options, its examples."""


def run(args: argparse.Namespace) -> int:
    """Run the subcommand; returns 0 or raises :class:`~omp.tools.terminal.Failed`."""
    args.work(args)
    return 0
