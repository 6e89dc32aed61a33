"""Tests of the AVP vault, its client included."""

from omp.tests import gather

load_tests = gather(__name__)
