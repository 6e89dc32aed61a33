"""Key files: a secret in a file that only its owner can read.

A lost secret key cannot be made again.  So a key file is always a new one (``O_EXCL``), and none is ever overwritten;
its bytes and its name are on the disk before anybody learns the key; and a file that could not be written whole is
removed.  It is readable only by its owner from the start (mode 0600), and a file that others can read is refused.  On
systems without file modes, only the folder protects it.

What the file holds is up to the tool: any text, or a JSON object of strings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from omp.rules.json_text import JsonError, parse
from omp.tools.terminal import Failed, reason


class NoKeyFile(Failed):
    """The key file does not exist."""


def write_secret(path: Path, text: str) -> None:
    """Write a new key file.  If that fails, raises :class:`Failed` and changes nothing."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Failed(f"{path} is there already, and a key that is overwritten is lost; name another file.") from None
    except OSError as error:
        raise Failed(f"The key file {path} cannot be made: {reason(error)}.") from None
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        sync_name(path)
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise Failed(f"The key file {path} cannot be written: {reason(error)}.") from None


def read_secret(path: Path, otherwise: str) -> str:
    """The text of a key file.

    Raises :class:`NoKeyFile` if there is no such file, with the sentence `otherwise`, which says how to get one; and
    :class:`Failed` if it cannot be read, or others can read it too.
    """
    try:
        with path.open(encoding="utf-8") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
                raise Failed(f"The key file {path} can be read by others; make it yours alone: chmod 600 {path}")
            return file.read()
    except FileNotFoundError:
        raise NoKeyFile(f"There is no key file {path}; {otherwise}") from None
    except OSError as error:
        raise Failed(f"The key file {path} cannot be read: {reason(error)}.") from None
    except UnicodeDecodeError:
        raise Failed(f"The key file {path} cannot be read: it is not text.") from None


def is_there(path: Path) -> bool:
    """Whether there is a key file, readable or not."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True  # reading it says why not
    return True


def write_members(path: Path, members: Mapping[str, str]) -> None:
    """Write a new key file that holds `members` as JSON; as :func:`write_secret`."""
    write_secret(path, json.dumps(members, indent=1) + "\n")


def read_members(path: Path, names: Sequence[str], otherwise: str) -> list[str]:
    """The members `names` of the JSON object in a key file; as :func:`read_secret`."""
    try:
        value = parse(read_secret(path, otherwise).encode())
    except JsonError:
        value = None
    members = [value.get(name) for name in names] if isinstance(value, dict) else []
    texts = [member for member in members if isinstance(member, str)]
    if len(texts) < len(names):
        raise Failed(f"{path} is no key file: it must be a JSON object with {' and '.join(names)}.")
    return texts


def sync_name(path: Path) -> None:
    """Make the name of a new file as durable as its bytes: a folder reaches the disk separately."""
    if os.name != "posix":
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
