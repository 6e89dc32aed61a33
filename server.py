"""``python3 server.py`` serves five open protocols on one port; ``--help`` shows every setting.

This file only asks for a Python that is new enough, before anything is imported that an older one cannot parse.
What it starts is in ``omp/entry.py``; ``README.md`` is the tour.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.stderr.write("server.py needs Python 3.11 or newer; this is {}.{}.\n".format(*sys.version_info))
    sys.exit(2)

from omp.entry import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
