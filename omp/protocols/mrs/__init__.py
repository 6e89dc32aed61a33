"""MRS 0.5, the spatial registry."""

from omp.protocols.mrs.routes import mount
from omp.protocols.mrs.service import SETTINGS

__all__ = ["SETTINGS", "mount"]
