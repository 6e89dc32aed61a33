"""Spaces as JSON: what a client may send, and the value that is kept and returned (mrs.md "Geometry", seed §5.1).

* ``{"type": "sphere", "center": {"lat", "lon", "ele": 0}, "radius"}``, 0 < radius <= 1,000,000 m;
* ``{"type": "polygon", "vertices": [{"lat", "lon", "ele"?}, …], "height"?}``, 3 to 1,000 vertices, 0 < height <=
  1,000,000 m and 1 m where it is absent.

:func:`read_space` checks one and gives the geometry beside the JSON to keep: `ele` of a centre filled in, -0 written
as 0, members nobody asked for left out.  Everything wrong is a :class:`~omp.protocols.mrs.geometry.GeometryError` whose
message names the member.  Numbers are those of JSON (true is none); what a double cannot hold is refused.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from omp.protocols.mrs.geometry import GeometryError, Space, Sphere, Vector, unit_vector
from omp.protocols.mrs.polygons import MAX_VERTICES, Polygon

MAX_RADIUS_M = 1_000_000
MAX_HEIGHT_M = 1_000_000
DEFAULT_HEIGHT_M = 1
TYPES = ("sphere", "polygon")


def read_space(value: Any, *, check: bool = True) -> tuple[Space, dict[str, Any]]:
    """The geometry of the JSON `value`, and the JSON value to keep.

    Raises :class:`GeometryError`.  `check` False skips the search for crossing edges, for values kept before.
    """
    if type(value) is not dict or value.get("type") not in TYPES:
        raise GeometryError('space must be an object whose type is "sphere" or "polygon"')
    return _read_sphere(value) if value["type"] == "sphere" else _read_polygon(value, check)


def read_point(value: Any, name: str) -> tuple[Vector, dict[str, Any]]:
    """The point of ``{"lat", "lon", "ele"?}``, and the JSON value to keep; `name` says in messages what it is."""
    if type(value) is not dict:
        raise GeometryError(f"{name} must be an object with lat and lon")
    lat = _number(value.get("lat"), f"{name}.lat", -90, 90)
    lon = _number(value.get("lon"), f"{name}.lon", -180, 180)
    kept = {"lat": lat, "lon": lon}
    if "ele" in value:
        kept["ele"] = _number(value["ele"], f"{name}.ele")
    return unit_vector(lat, lon), kept


def _read_sphere(value: dict[str, Any]) -> tuple[Space, dict[str, Any]]:
    centre, kept = read_point(value.get("center"), "space.center")
    kept.setdefault("ele", 0)
    radius = _positive(value.get("radius"), "space.radius", MAX_RADIUS_M)
    return Sphere(centre, float(radius)), {"type": "sphere", "center": kept, "radius": radius}


def _read_polygon(value: dict[str, Any], check: bool) -> tuple[Space, dict[str, Any]]:
    given = value.get("vertices")
    if type(given) is not list or not 3 <= len(given) <= MAX_VERTICES:
        raise GeometryError(f"space.vertices must be a list of 3 to {MAX_VERTICES} positions")
    points = [read_point(vertex, f"space.vertices.{index}") for index, vertex in enumerate(given)]
    kept: dict[str, Any] = {"type": "polygon", "vertices": [vertex for _, vertex in points]}
    height: float = DEFAULT_HEIGHT_M
    if "height" in value:
        kept["height"] = height = _positive(value["height"], "space.height", MAX_HEIGHT_M)
    return Polygon((point for point, _ in points), float(height), check=check), kept


def _number(value: Any, name: str, low: float | None = None, high: float | None = None) -> float:
    """The number, finite and in range; -0 becomes 0, so that one place is written in one way."""
    if type(value) is not int and type(value) is not float:
        raise GeometryError(f"{name} must be a number")
    if low is not None and high is not None and not low <= value <= high:
        raise GeometryError(f"{name} must be from {low} to {high}")
    if not _is_finite(value):
        raise GeometryError(f"{name} must be a finite number")
    return value + 0


def _positive(value: Any, name: str, high: int) -> float:
    number = _number(value, name)
    if not 0 < number <= high:
        raise GeometryError(f"{name} must be more than 0 and at most {high:,} metres")
    return number


def _is_finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:  # an integer that no double holds
        return False
