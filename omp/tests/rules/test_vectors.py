"""The vectors of canonical, ed25519, http_signatures, structured_fields: one test a file."""

from omp.tests.vectors.files import tests_of

load_tests = tests_of("canonical", "ed25519", "http_signatures", "structured_fields")
