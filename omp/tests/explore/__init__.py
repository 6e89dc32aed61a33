"""Tests of the explorer at ``/explore`` and of the demo world."""

from omp.tests import gather

load_tests = gather(__name__)
