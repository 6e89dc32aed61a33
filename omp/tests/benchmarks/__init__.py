"""The benchmarks behind ``python -m omp bench``: one module each, and what they share.

`load` starts servers, drives them over keep-alive connections and prints the tables; `stock` and `ceiling` are
the two servers that ours is measured beside; `objects`, `log`, `vault`, `places` and `profile` are the benchmarks.
`hostile` measures what attacks cost, with the attacks in `hostile_*` and a watched server in `gauges`.
`crash` kills servers and looks for what is lost, with the clients and their ledgers in `crash_*`.
A benchmark compares things within one run and quotes ratios: machines are noisy, and differ.
"""

from omp.tests import gather

load_tests = gather(__name__)
