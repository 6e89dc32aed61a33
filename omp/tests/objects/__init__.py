"""Tests of the objects API."""

from omp.tests import gather

load_tests = gather(__name__)
