"""MRS 0.5, the spatial registry (mrs.md, with its seed): "DNS for places".

Register a service for a sphere or a polygon, find what is around a point, be referred to other servers.  Users are
``name@domain``: this server's own log in and bear tokens, those of other servers sign their requests with a key that
their server publishes.

Reading order:

* `registration`: what is registered, and the bytes of its row;
* `registry`: the tables, the change feed; `search`: what is around a point;
* `routes`: the handlers in the document's order, and the table; `federation`: peers, sync, export; `schemas`: bodies;
* `accounts`, `passwords`, `throttle`: users, tokens, failed logins; `admin`: who is the operator;
* `identity`: bearer tokens and HTTP signatures; `key_documents`, `key_ring`: published keys; `remote_keys`, `fetch`:
  those of other servers, and how to fetch them without being led astray;
* `peers`: other servers, and whom to refer to;
* `addresses`, `instants`, `settings`, `service`: URLs and domains, times, variables, the wiring.

`registration`, `key_documents`, `addresses` and `instants` are pure.  The geometry is a floor down, in `omp.rules`:
`geometry`, `polygons`, `spaces`, and `cells`, the index that keeps a search as cheap as what is nearby.
"""

from omp.protocols.mrs.routes import mount
from omp.protocols.mrs.settings import SETTINGS

__all__ = ["SETTINGS", "mount"]
