"""The demo's places: thirty in three cities, some around the antimeridian and at a pole, and a second registry.

Two users have registered them: ``cities`` and ``ocean``.  One place of Vienna stands in the desert of Yemen, since
whoever registered it gave longitude for latitude: on a map that is found at once.  The second registry, the *peer*,
knows more about Fiji; searches are referred to it (mrs §7.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from omp.explore.demo import Visitor

Place = tuple[str, float, float, float]
"""(Name, latitude, longitude, radius in metres)."""
Outline = tuple[str, tuple[tuple[float, float], ...]]
"""(Name, its corners as latitude and longitude)."""

SPHERES: tuple[Place, ...] = (
    ("vienna/stephansdom", 48.2085, 16.3731, 60),
    ("vienna/schoenbrunn", 48.1848, 16.3122, 400),
    ("vienna/naschmarkt", 48.1984, 16.3631, 250),
    ("vienna/hofburg", 48.2065, 16.3656, 200),
    ("vienna/belvedere", 48.1915, 16.3809, 180),
    ("vienna/karlskirche", 48.1983, 16.3719, 50),
    ("vienna/rathaus", 48.2109, 16.3573, 120),
    ("vienna/hauptbahnhof", 48.1850, 16.3760, 300),
    ("vienna/museum-of-technology", 16.3179, 48.1908, 150),  # the mistake
    ("sydney/opera-house", -33.8568, 151.2153, 100),
    ("sydney/harbour-bridge", -33.8523, 151.2108, 250),
    ("sydney/zoo", -33.8430, 151.2411, 400),
    ("sydney/bondi-beach", -33.8915, 151.2767, 500),
    ("sydney/central-station", -33.8832, 151.2067, 200),
    ("sydney/manly", -33.7969, 151.2877, 450),
    ("sydney/australian-museum", -33.8743, 151.2130, 80),
    ("sydney/airport", -33.9461, 151.1772, 1800),
    ("sydney/luna-park", -33.8477, 151.2097, 90),
    ("nairobi/kicc", -1.2884, 36.8231, 90),
    ("nairobi/national-museum", -1.2741, 36.8146, 150),
    ("nairobi/uhuru-park", -1.2897, 36.8166, 250),
    ("nairobi/blixen-house", -1.3519, 36.7123, 100),
    ("nairobi/railway-station", -1.2907, 36.8282, 150),
    ("nairobi/airport", -1.3192, 36.9278, 2000),
    ("nairobi/city-market", -1.2841, 36.8193, 60),
    ("nairobi/university", -1.2795, 36.8172, 300),
)
OUTLINES: tuple[Outline, ...] = (
    ("vienna/prater", ((48.2170, 16.3960), (48.2120, 16.4080), (48.1950, 16.4400), (48.1920, 16.4360))),
    ("sydney/botanic-garden", ((-33.8585, 151.2180), (-33.8600, 151.2225), (-33.8690, 151.2190), (-33.8670, 151.2130))),
    ("nairobi/national-park", ((-1.334, 36.776), (-1.348, 36.87), (-1.42, 36.96), (-1.436, 36.88), (-1.38, 36.77))),
    ("nairobi/karura-forest", ((-1.231, 36.813), (-1.232, 36.850), (-1.250, 36.855), (-1.253, 36.822))),
)  # fmt: skip
OCEAN_SPHERES: tuple[Place, ...] = (
    ("ocean/date-line-buoy", -17.0, 180.0, 25_000),
    ("ocean/south-pole-station", -90.0, 0.0, 5_000),
    ("ocean/north-pole-ice-camp", 89.9, 140.0, 3_000),
)
OCEAN_OUTLINES: tuple[Outline, ...] = (
    ("ocean/taveuni-strait", ((-16.2, 179.6), (-16.2, -179.7), (-17.2, -179.7), (-17.2, 179.6))),
    ("ocean/wrangel-reserve", ((71.6, 178.4), (71.7, -177.4), (70.8, -177.5), (70.7, 178.6))),
)
AT_THE_PEER: tuple[Place, ...] = (
    ("fiji/bouma-falls", -16.8300, -179.8800, 300),
    ("fiji/meridian-stone", -16.7780, 180.0, 20),
    ("fiji/suva-market", -18.1340, 178.4230, 80),
    ("fiji/savusavu-wharf", -16.7770, 179.3330, 120),
)
CITIES = {"Vienna": (48.2, 16.37), "Sydney": (-33.86, 151.21), "Nairobi": (-1.29, 36.82), "Fiji": (-17.0, 180.0)}
"""Where to search."""
PASSWORD = "everybody knows this"  # noqa: S105  # of made-up users


def _spheres(places: Iterable[Place]) -> Iterable[tuple[str, dict[str, Any]]]:
    for name, lat, lon, radius in places:
        yield name, {"type": "sphere", "center": {"lat": lat, "lon": lon, "ele": 0}, "radius": radius}


def _outlines(places: Iterable[Outline]) -> Iterable[tuple[str, dict[str, Any]]]:
    for name, corners in places:
        yield name, {"type": "polygon", "vertices": [{"lat": lat, "lon": lon} for lat, lon in corners]}


def _register(visitor: Visitor, user: str, *lists: Iterable[tuple[str, dict[str, Any]]]) -> None:
    token = visitor.ask("POST", "/auth/register", {"username": user, "password": PASSWORD})["token"]
    for places in lists:
        for name, space in places:
            body = {"space": space, "service_point": f"https://places.example/{name}", "foad": False}
            visitor.ask("POST", "/register", body, token)


def fill(visitor: Visitor, peer_url: str, admin_token: str) -> Mapping[str, Any]:
    """Register the places and the peer; returns their part of the guide."""
    _register(visitor, "cities", _spheres(SPHERES), _outlines(OUTLINES))
    _register(visitor, "ocean", _spheres(OCEAN_SPHERES), _outlines(OCEAN_OUTLINES))
    peer = {"action": "add", "server_url": peer_url, "hint": "Fiji, both sides of the date line"}
    visitor.ask("POST", "/admin/peers", peer, admin_token)
    return {"cities": CITIES}


def fill_peer(visitor: Visitor) -> None:
    """Register what the peer knows."""
    _register(visitor, "fiji", _spheres(AT_THE_PEER))
