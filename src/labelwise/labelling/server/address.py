"""At which address a server listens, and how browsers write it."""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address

from labelwise.errors import InputError

LOOPBACK = "127.0.0.1"
GIVE = "give the name or address at which others reach this machine"


def in_address(name: str) -> str:
    """Return a name or address as browsers write it: small letters, IPv6 in brackets."""
    name = name.lower()
    return f"[{name}]" if ":" in name else name


def reachable(name: str) -> str:
    """Return an address of this machine that others can use, without brackets. Errors: InputError for one that is not.

    A loopback address, given as a number or as localhost, is taken: so one tries it out.
    """
    name = name.strip().removeprefix("[").removesuffix("]")
    try:
        found = ip_address(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError, ValueError) as error:
        raise InputError(f"--allow-remote {name}: {getattr(error, 'strerror', None) or error}; {GIVE}") from None
    if found.is_unspecified:
        raise InputError(f"--allow-remote {name} is no address that others can open; {GIVE}")
    if found.is_loopback and name.lower() not in (str(found), "localhost"):
        raise InputError(f"--allow-remote {name} means this machine alone here ({found}); {GIVE}")
    return name


def bind(host: str, port: int) -> socket.socket:
    """Return a listening address. Errors: InputError for a port that is taken, or an address of another machine."""
    listener = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        if listener is not None:
            listener.close()
        foreign = error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror)
        hint = GIVE if foreign else "choose another --port"
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror or error}; {hint}") from None
    return listener
