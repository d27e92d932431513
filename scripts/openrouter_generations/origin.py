"""Where an API key may be sent: the rules for a base URL (pure, no I/O)."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from openrouter_generations.errors import UsageError
from openrouter_generations.text import safe_line

DEFAULT = "https://openrouter.ai"


def is_loopback(host: str) -> bool:
    """`localhost` or an address of 127.0.0.0/8 or ::1; names are not resolved."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_header_value(source: str, value: str, *, spaces: bool = False) -> None:
    """Raise UsageError, which names `source`, for what no HTTP header can hold."""
    if not value.isascii() or not (value == "" or value.isprintable()) or (not spaces and " " in value):
        raise UsageError(
            f"{source} holds a character that cannot be sent: a control character, "
            f"{'' if spaces else 'a space, '}or one outside ASCII (a curly quote?). Copy the value again."
        )


def api_root(base_url: str, *, allow_http: bool = False) -> str:
    """The URL that paths such as `/generation` are appended to: `<origin>/api/v1`.

    Accepts the base with or without a trailing `/api/v1`. Plain http is for
    loopback, or for any host with `allow_http`. Raises UsageError.
    """
    shown = safe_line(base_url)
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname, parts.port
    except ValueError as problem:
        raise UsageError(f"OPENROUTER_BASE_URL {shown!r} is not a URL: {problem}.") from None
    if not base_url.isascii() or not base_url.isprintable() or " " in base_url or not host:
        raise UsageError(f"OPENROUTER_BASE_URL {shown!r} is not a URL. Expected something like {DEFAULT}.")
    if parts.username is not None or "?" in base_url or "#" in base_url:
        raise UsageError(
            f"OPENROUTER_BASE_URL may hold scheme, host, port and path only, like {DEFAULT}: "
            "no user name, password, query or fragment."
        )
    if parts.scheme == "http":
        if not (allow_http or is_loopback(host)):
            raise UsageError(
                f"OPENROUTER_BASE_URL {shown!r} would send the key unencrypted. Use https, "
                "or set OPENROUTER_ALLOW_HTTP=1 if you mean it."
            )
    elif parts.scheme != "https":
        raise UsageError(f"OPENROUTER_BASE_URL {shown!r} must begin with https://.")
    return base_url.rstrip("/").removesuffix("/api/v1") + "/api/v1"
