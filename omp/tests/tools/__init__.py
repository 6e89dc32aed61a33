"""Tests of the command line: what all tools share, key files, signing."""

from omp.tests import gather

load_tests = gather(__name__)
