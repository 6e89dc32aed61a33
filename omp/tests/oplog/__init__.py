"""Tests of the signed operation log, its tool included."""

from omp.tests import gather

load_tests = gather(__name__)
