"""Places on a sphere: points, distances, spheres, and what every space can be asked (§5).

Pure.  The earth is a sphere of radius R = 6,371,000 m.  A point is a **unit vector** (x, y, z), never a pair of angles:
the poles and the antimeridian are then points like any other, and no formula below has a special case for them.

**Distance** is the haversine of §5.2.  With c the chord between two unit vectors, hav θ = sin²(θ/2) = c²/4: this is the
same formula without its cosines, and just as exact for points a millimetre apart.

A **space** is what a registration occupies: a :class:`Sphere` here, a polygon in :mod:`.polygons`.  Each
answers the same questions: its ``volume`` (m³), its **bounding cap** (every point of it lies within ``reach`` metres of
``centre``), and how far a point is from it.  :func:`read_space` in :mod:`.registration` makes one from JSON.

Elevations are part of no formula here (§5.1: they are kept and returned, and not used in searching).

Handled here: every finite latitude and longitude in range.  The caller must refuse anything that is not a number.
"""

from __future__ import annotations

from math import asin, atan2, cos, degrees, dist, hypot, pi, radians, sin, sqrt
from typing import NamedTuple, Protocol

from omp.protocols.mrs.schemas import RegistryError

EARTH_RADIUS_M = 6_371_000.0
"""R of §5.2."""
_DIAMETER = 2 * EARTH_RADIUS_M
HALF_CIRCUMFERENCE_M = pi * EARTH_RADIUS_M
"""No two points are farther apart."""

Vector = tuple[float, float, float]


class GeometryError(RegistryError):
    """A space that cannot exist; the message names what is wrong with it."""


class Space(Protocol):
    """What a registration, or the region of a peer, occupies."""

    @property
    def centre(self) -> Vector:
        """The middle of the bounding cap."""

    @property
    def reach(self) -> float:
        """Metres: no point of the space lies farther from `centre`."""

    @property
    def volume(self) -> float:
        """Cubic metres: search results are sorted by it (§6.3)."""

    def found(self, point: Vector, within: float) -> float | None:
        """The distance in metres that a search reports, or None if nothing of the space lies `within` metres."""


# --- points ---------------------------------------------------------------------------------------------------------


def unit_vector(lat: float, lon: float) -> Vector:
    """The point at `lat`, `lon` degrees.

    One place has one vector: every longitude at a pole is the pole, and -180° is 180°.

    >>> unit_vector(90, 12) == unit_vector(90, -77), unit_vector(5, -180) == unit_vector(5, 180)
    (True, True)
    """
    if abs(lat) == 90:
        return (0.0, 0.0, 1.0 if lat > 0 else -1.0)
    phi, lam = radians(lat), radians(180 if lon == -180 else lon)
    return (cos(phi) * cos(lam), cos(phi) * sin(lam), sin(phi))


def position(point: Vector) -> tuple[float, float]:
    """The latitude and longitude in degrees of a point: the inverse of :func:`unit_vector`."""
    x, y, z = point
    return degrees(atan2(z, hypot(x, y))), degrees(atan2(y, x))


def dot(p: Vector, q: Vector) -> float:
    """p · q."""
    return p[0] * q[0] + p[1] * q[1] + p[2] * q[2]


def cross(p: Vector, q: Vector) -> Vector:
    """p × q."""
    return (p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0])


def minus(p: Vector, q: Vector) -> Vector:
    """p - q."""
    return (p[0] - q[0], p[1] - q[1], p[2] - q[2])


def unit(p: Vector) -> Vector:
    """p scaled to length 1; ZeroDivisionError for the zero vector."""
    length = sqrt(dot(p, p))
    return (p[0] / length, p[1] / length, p[2] / length)


# --- distances ------------------------------------------------------------------------------------------------------


def chord_metres(chord: float) -> float:
    """Metres along the ground between two points whose vectors lie `chord` apart."""
    return _DIAMETER * asin(chord / 2 if chord < 2 else 1.0)


def distance(p: Vector, q: Vector) -> float:
    """Metres along the ground between two points: the haversine formula (§5.2).

    >>> round(distance(unit_vector(0, 179.5), unit_vector(0, -179.5)))
    111195
    """
    return chord_metres(dist(p, q))


# --- spheres --------------------------------------------------------------------------------------------------------


class Sphere(NamedTuple):
    """All points within `radius` metres of `centre`."""

    centre: Vector
    radius: float

    @property
    def reach(self) -> float:
        """A sphere is its own bounding cap."""
        return self.radius

    @property
    def volume(self) -> float:
        """4/3 π r³: the curvature of the earth is neglected (§5.3)."""
        return sphere_volume(self.radius)

    def found(self, point: Vector, within: float) -> float | None:
        """§5.3: two spheres meet if their centres are no farther apart than the sum of their radii.

        The distance reported is the one to the centre, also from inside.
        """
        metres = distance(self.centre, point)
        return metres if metres <= self.radius + within else None


def sphere_volume(radius: float) -> float:
    """Cubic metres of a sphere of `radius` metres."""
    return 4 / 3 * pi * radius**3


# --- bounding boxes -------------------------------------------------------------------------------------------------


class BoundingBox(NamedTuple):
    """Degrees.  Where `west` > `east` the box crosses the antimeridian: it runs from `west` over 180° to `east`."""

    south: float
    west: float
    north: float
    east: float

    def contains(self, lat: float, lon: float) -> bool:
        """Whether a position lies in the box."""
        if not self.south <= lat <= self.north:
            return False
        if self.west <= self.east:
            return self.west <= lon <= self.east
        return lon >= self.west or lon <= self.east


def bounding_box(centre: Vector, reach: float) -> BoundingBox:
    """The smallest box of latitudes and longitudes around the cap of `reach` metres about `centre`.

    Dividing by cos(lat), as is often done, gives a box that is too narrow away from the equator and breaks down at the
    poles.  The meridians that touch a cap of angular radius ρ lie asin(sin ρ / cos φ) to both sides of its centre, and
    a cap that holds a pole touches every meridian (§5.8).

    >>> [round(degree, 3) for degree in bounding_box(unit_vector(0, 179.9), 22_239)]
    [-0.2, 179.7, 0.2, -179.9]
    """
    lat, lon = position(centre)
    rho = reach / EARTH_RADIUS_M
    south, north = lat - degrees(rho), lat + degrees(rho)
    if south <= -90 or north >= 90:
        return BoundingBox(max(south, -90.0), -180.0, min(north, 90.0), 180.0)
    half = degrees(asin(min(sin(rho) / cos(radians(lat)), 1.0)))
    west, east = lon - half, lon + half
    return BoundingBox(south, west + 360 if west < -180 else west, north, east - 360 if east > 180 else east)
