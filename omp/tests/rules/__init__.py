"""Tests of the rules floor: canonical JSON, Ed25519, Structured Fields, HTTP Message Signatures, schemas."""

from omp.tests import gather

load_tests = gather(__name__)
