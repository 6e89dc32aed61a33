"""Tests of the MRS registry, its tools included."""

from omp.tests import gather

load_tests = gather(__name__)
