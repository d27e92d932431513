"""Embedded media: data URIs and base64 fields in stored content, recognised, measured, decoded (pure)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

_DATA_URI = re.compile(
    r"data:([\w.+-]{1,60}/[\w.+-]{1,80})?(?:;[\w.+-]{1,40}=[^;,\s]{0,80}){0,8};base64,([A-Za-z0-9+/_=-]{32,})"
)
_TYPE = re.compile(r"[a-z0-9.+-]{1,40}(?:/[a-z0-9.+-]{1,80})?")
_AUDIO_FORMATS = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
}
_EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/svg+xml": "svg",
    "application/pdf": "pdf",
    "application/json": "json",
    "text/plain": "txt",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/ogg": "ogg",
    "audio/flac": "flac",
    "audio/mp4": "m4a",
    "video/mp4": "mp4",
    "video/webm": "webm",
}


class Media(NamedTuple):
    """One embedded file: its type as claimed, and its base64 text."""

    kind: str
    payload: str

    @property
    def octets(self) -> int:
        """Size when decoded, in bytes."""
        return len(self.payload.rstrip("=")) * 3 // 4

    def decoded(self) -> bytes | None:
        """The file itself; None where the base64 is damaged."""
        text = self.payload.replace("-", "+").replace("_", "/").rstrip("=")
        try:
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            return None

    def file_name(self, content: bytes) -> str:
        """Named by the hash of the decoded content, with an extension that this program chose."""
        return f"{hashlib.sha256(content).hexdigest()[:16]}.{_EXTENSIONS.get(self.kind, 'bin')}"


def from_base64(kind: str, payload: str) -> Media:
    """Media from a field that holds base64 and nothing else; `kind`: a MIME type, or a format such as `mp3`."""
    return Media(_named(_AUDIO_FORMATS.get(kind.lower(), kind)), "".join(payload.split()))


def _named(claimed: str) -> str:
    """A type fit to print anywhere; stored words that are no type are not repeated."""
    kind = claimed.strip().lower()
    return kind if _TYPE.fullmatch(kind) else "application/octet-stream"


def from_uri(link: str) -> Media | None:
    """A link that is one `data:` URI, in base64 or percent-encoded; None for any other link."""
    head, comma, payload = link.strip().partition(",")
    if not comma or head[:5].lower() != "data:":
        return None
    kind, *parameters = head[5:].lower().split(";")
    kind = kind or "text/plain"
    if parameters and parameters[-1].strip() == "base64":
        return from_base64(kind, payload)
    return Media(_named(kind), base64.b64encode(unquote_to_bytes(payload.encode("utf-8", "replace"))).decode())


def split(text: str) -> Iterator[str | Media]:
    """A text as its plain stretches and the data URIs between them, in order."""
    place = 0
    for match in _DATA_URI.finditer(text) if "base64," in text else ():
        if match.start() > place:
            yield text[place : match.start()]
        yield Media(_named(match[1] or "application/octet-stream"), match[2])
        place = match.end()
    if place < len(text):
        yield text[place:]
