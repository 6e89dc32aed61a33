"""MRS 0.5, the spatial registry: "DNS for places".

DNS says which server answers for a name; MRS says which service answers for a place.  Somebody registers a space on the
earth, a sphere or a polygon, with the https address of a service.  Somebody else who stands there searches, and gets
the services whose spaces the search meets, smallest first: the room before the building before the city.  No server
knows every place, so an answer also names other servers that may know more.  ``SPEC.md`` beside this file is the
protocol, and a bare § in this package is a section of it; ``README.md`` is the guide for its users.

What can go wrong, and where it is settled:

* *The earth is round.*  Boxes of latitude and longitude fail at the poles and at the antimeridian.  Points are unit
  vectors here, so there are no special cases; and the index is a cube's faces, not a grid of degrees.
* *A polygon may have no inside.*  If its edges cross, two servers would disagree.  Such polygons are refused.
* *A registry grows.*  A search must cost what lies nearby, whether there are a thousand registrations or a million;
  and strangers choose what lies nearby, so a polygon is prepared for searching when it is registered.
* *Users come from other servers.*  ``user@domain`` signs a request, and this server fetches the key from the domain:
  a stranger chooses an address, and the server connects to it.  That is the most dangerous thing it does.
* *Followers must not miss a change.*  Every change gets a number inside the transaction that makes it visible.
* *Passwords.*  They are guessed, in bulk and all at once, and hashing them costs memory.

We doubt two things.  A signature that covers the path but not the server is what the protocol's clients make, and it
can be presented to another server within five minutes.  And "smallest first" rewards whoever claims a tiny sphere.

The files, in reading order:

* :mod:`.schemas`: errors, times, names, and every body as JSON Schema: what is on the wire;
* :mod:`.geometry`, :mod:`.outlines`, :mod:`.polygons`: points, distances, spheres; sides; areas, crossings;
* :mod:`.cells`: places as ordered integers, the index;
* :mod:`.registration`: a space as JSON, a claim, a registration, and the bytes of its row;
* :mod:`.registry`, :mod:`.searching`: the tables and the change feed; what lies near a point;
* :mod:`.whitelist`, :mod:`.accounts`: who may make an account; passwords, tokens, failed logins;
* :mod:`.addresses`, :mod:`.fetch`: how servers are named, and which addresses are public; fetching from servers
  safely; :mod:`.keys`: public keys, published and fetched;
* :mod:`.identity`: who is calling; :mod:`.peers`: whom to refer to;
* :mod:`.imports`: what another server exported; :mod:`.service`: settings, wiring, export; :mod:`.routes`: the
  handlers and the table.

Those up to :mod:`.registration` are pure: they can be tried by themselves.

>>> from omp.protocols.mrs.geometry import distance, unit_vector
>>> from omp.protocols.mrs.registration import read_space
>>> opera = {"type": "sphere", "center": {"lat": -33.8568, "lon": 151.2153}, "radius": 100}
>>> space, kept = read_space(opera)
>>> here = unit_vector(-33.8568, 151.2155)
>>> round(space.found(here, within=50), 1)  # metres to the centre of what a search of 50 m around here finds
18.5
>>> space.found(unit_vector(48.2, 16.4), within=50) is None
True
>>> round(distance(unit_vector(0, 179.5), unit_vector(0, -179.5)))  # across the antimeridian: one degree
111195
"""

from omp.protocols.mrs.routes import mount
from omp.protocols.mrs.service import SETTINGS

__all__ = ["SETTINGS", "mount"]
