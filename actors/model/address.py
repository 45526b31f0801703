"""The address of a model host, normalised from the forms in which people write it."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

DEFAULT_PORT = 11434
_SCHEME_PORTS = {"http": 80, "https": 443}
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def normalise_host(text: str) -> str:
    """`scheme://host:port[/path]` for a model host as people and OLLAMA_HOST write it.

    The port is 11434 unless given; after an explicit scheme it is that scheme's default, as in Ollama itself.
    A wildcard address, on which a server listens, becomes loopback. Raises ValueError with the text and what
    was expected.
    """
    written = text.strip().strip("\"'").strip()
    scheme, separator, rest = written.partition("://")
    if not separator:
        scheme, rest = "http", written
    scheme = scheme.lower()
    if scheme not in _SCHEME_PORTS:
        raise ValueError(f"model host {text!r}: scheme {scheme!r} is not http or https")
    if any(character.isspace() for character in rest):
        raise ValueError(f"model host {text!r} contains a space; expected host:port or http://host:port")
    parts = _split(text, f"{scheme}://{_bracketed(rest)}")
    port = parts.port or (_SCHEME_PORTS[scheme] if separator else DEFAULT_PORT)
    name = _WILDCARDS.get(parts.hostname or "127.0.0.1", parts.hostname or "127.0.0.1")
    shown = f"[{name}]" if ":" in name else name
    path = parts.path.strip("/")
    return f"{scheme}://{shown}:{port}" + (f"/{path}" if path else "")


def is_local(url: str) -> bool:
    """Whether a normalised address is this machine's loopback, which a proxy cannot reach."""
    name = urlsplit(url).hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _bracketed(rest: str) -> str:
    """The address with brackets around a bare IPv6 address, whose last group would be read as a port."""
    try:
        ipaddress.IPv6Address(rest.rstrip("/"))
    except ValueError:
        return rest
    return f"[{rest.rstrip('/')}]"


def _split(text: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"model host {text!r} is not an address ({error}); expected host:port") from error
    if port == 0:
        raise ValueError(f"model host {text!r} has port 0; expected 1 to 65535")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"model host {text!r} contains a user name; set OLLAMA_API_KEY instead")
    if parts.query or parts.fragment:
        raise ValueError(f"model host {text!r} contains a query; expected host:port or http://host:port")
    if (host := parts.hostname) is not None and ":" not in host and not _plausible(host):
        raise ValueError(f"model host {text!r}: {host!r} is not a host name or an address")
    return parts


def _plausible(host: str) -> bool:
    return len(host) <= 253 and all(
        label and all(c.isalnum() or c in "-_" for c in label) for label in host.rstrip(".").split(".")
    )
