"""The whitelist: who may make an account, where the operator keeps strangers from making any (§3.6).

The operator lists e-mail addresses (§12.5).  With ``MRS_REGISTRATION_REQUIRES_WHITELIST=1`` an account is made only for
a caller who names one of them.  Nobody sends a mail to the address: whoever knows one on the list can use it, as often
as attempts are answered (§3.3).  So the list keeps out whoever knows none, and is no proof of who somebody is.

Addresses are trimmed and kept in lower case, and compared so.  The list is a table, which is kept whether or not the
server asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from omp.protocols.mrs.schemas import MAX_EMAIL, RegistryError, iso_time
from omp.rules.json_text import compact
from omp.store.port import Store

WHITELIST = "mrs_whitelist"  # address -> JSON {"added_at"}


class BadAddress(RegistryError):
    """A text that is no e-mail address, or none at all where one has to be given."""


class NotWhitelisted(RegistryError):
    """The caller named no address that is on the list (§3.6)."""


class NoSuchAddress(RegistryError):
    """The address to remove is not on the list."""


class Whitelist:
    """The listed addresses in `store`; `clock` gives epoch seconds."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    def require(self, email: str | None) -> None:
        """:class:`NotWhitelisted` unless the address is on the list."""
        if not email:
            raise NotWhitelisted(
                "Without a listed e-mail address you are not authorised to make an account: name yours as email."
            )
        address = _address(email)
        if address is None or self._store.get(WHITELIST, address.encode()) is None:
            raise NotWhitelisted("This e-mail address is not authorised to make an account: the operator lists those.")

    def add(self, emails: Iterable[str]) -> int:
        """List addresses, all or none of them; how many were not listed before.  Raises :class:`BadAddress`."""
        addresses = []
        for email in emails:
            address = _address(email)
            if address is None:
                raise BadAddress(f"{email[:60]!r} is no e-mail address of at most {MAX_EMAIL} characters, with an @.")
            addresses.append(address.encode())
        if not addresses:
            raise BadAddress("email or emails must name an e-mail address.")
        row = compact({"added_at": iso_time(self._clock())}).encode()
        added = 0
        with self._store.write() as tx:
            for address_row in addresses:
                if tx.get(WHITELIST, address_row) is None:
                    tx.put(WHITELIST, address_row, row)
                    added += 1
        return added

    def remove(self, email: str) -> str:
        """Take an address from the list; the address as it was listed.  Raises :class:`NoSuchAddress`."""
        address = _address(email)
        if address is not None:
            with self._store.write() as tx:
                if tx.delete(WHITELIST, address.encode()):
                    return address
        raise NoSuchAddress("This e-mail address is not on the list.")

    def listed(self) -> list[dict[str, str]]:
        """`email` and `added_at` of all addresses, in their order as UTF-8."""
        with self._store.read() as tx:
            return [{"email": row.decode(), **json.loads(value)} for row, value in tx.scan(WHITELIST)]


def _address(text: str) -> str | None:
    """An address as it is listed and compared; None for what is none.

    >>> _address(" Mark@Example.COM\\n"), _address("mark"), _address("a b@c")
    ('mark@example.com', None, None)
    """
    address = text.strip().lower()
    fits = "@" in address and len(address) <= MAX_EMAIL and address.isprintable() and " " not in address
    return address if fits else None
