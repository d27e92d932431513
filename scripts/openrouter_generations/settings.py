"""Where the API key, the base URL and the attribution headers come from, and what is refused.

Order: flag, environment, `.env`. A `.env` found on the way up may belong to a
hostile checkout, so it is read only for a key that nothing else gave, its
other values count only together with that key, and `${…}` in it stays as it
is: expanding it could send another secret of the environment to its base URL.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from openrouter_generations import origin
from openrouter_generations.errors import MissingKeyError, UsageError
from openrouter_generations.text import encoding_of

_KEY = "OPENROUTER_API_KEY"
_BASE_URL = "OPENROUTER_BASE_URL"
ALLOW_HTTP = "OPENROUTER_ALLOW_HTTP"
_ATTRIBUTION = {
    "OPENROUTER_HTTP_REFERER": "HTTP-Referer",
    "OPENROUTER_TITLE": "X-OpenRouter-Title",
    "OPENROUTER_CATEGORIES": "X-OpenRouter-Categories",
}
_DOTENV_LIMIT = 1 << 20  # bytes; a larger file is no .env


class Settings(NamedTuple):
    """`key_source`: where the key came from. `api_root`: the checked URL of the API. `headers`: attribution."""

    api_key: str
    key_source: str
    api_root: str
    headers: dict[str, str]


def load(flag: str | None, environ: Mapping[str, str], folder: str) -> Settings:
    """Settings from the `--api-key` flag, the environment and a `.env` in `folder` or above.

    Raises MissingKeyError without a key, UsageError for what cannot be used.
    """
    values: Mapping[str, str] = environ
    key = flag if flag is not None else environ.get(_KEY)
    source = "--api-key" if flag is not None else _KEY
    if flag is None and not key:
        found, source = _dotenv(folder)
        values = {**found, **{name: value for name, value in environ.items() if value}}
        key = found.get(_KEY)
    if not key:
        raise MissingKeyError(
            "Error: No API key provided.\n"
            f"Pass --api-key <key> or set the {_KEY} environment variable (or put it into a .env file).\n"
            "Get one at https://openrouter.ai/settings/keys"
        )
    origin.check_header_value(source, key)
    root = origin.api_root(values.get(_BASE_URL) or origin.DEFAULT, allow_http=environ.get(ALLOW_HTTP) == "1")
    headers = {}
    for name, header in _ATTRIBUTION.items():
        if value := values.get(name, "").strip(" "):
            origin.check_header_value(name, value, spaces=True)
            headers[header] = value
    return Settings(key, source, root, headers)


def _dotenv(folder: str) -> tuple[dict[str, str], str]:
    """The values of the nearest `.env` that has a key, from `folder` upward, and its path; empty without one."""
    while True:
        path = os.path.join(folder, ".env")
        if os.path.isfile(path):
            values = _parsed(path)
            if values.get(_KEY):
                return values, path
        parent = os.path.dirname(folder)
        if parent == folder:
            return {}, _KEY
        folder = parent


def _parsed(path: str) -> dict[str, str]:
    import io
    import logging

    from dotenv import dotenv_values

    try:
        with open(path, "rb") as file:
            octets = file.read(_DOTENV_LIMIT)
    except OSError as problem:
        raise UsageError(f"{path} cannot be read: {problem.strerror}. Set {_KEY} instead.") from None
    content = io.StringIO(octets.decode(encoding_of(octets), "replace"), newline=None)
    logging.getLogger("dotenv.main").setLevel(logging.ERROR)  # else its parse warnings reach stderr
    parsed = dotenv_values(stream=content, interpolate=False)
    return {name: value for name, value in parsed.items() if value}
