"""Tests of NEXUS, its tool included."""

from omp.tests import gather

load_tests = gather(__name__)
