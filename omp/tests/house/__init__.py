"""Tests of the project as a whole: imports, documentation, examples."""

from omp.tests import gather

load_tests = gather(__name__)
