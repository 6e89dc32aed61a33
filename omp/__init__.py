"""Five open protocols for personal data that a key owns, on one port; ``README.md`` has the guided tour.

The folders are the floors, and imports go down only: ``rules`` (pure), ``store``, ``web``, ``protocols``, ``tools``.
"""

__version__ = "0.2.0"
