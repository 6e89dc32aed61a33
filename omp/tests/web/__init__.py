"""Tests of the web floor: HTTP on the wire, routing, signatures in front of routes, OpenAPI, the docs page."""

from omp.tests import gather

load_tests = gather(__name__)
