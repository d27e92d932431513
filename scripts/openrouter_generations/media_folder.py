"""Writing embedded media of stored content into a folder, each file once, named by its content."""

from __future__ import annotations

import os

from openrouter_generations import output
from openrouter_generations.errors import OutputError
from openrouter_generations.media import Media
from openrouter_generations.text import plural, safe_line

_LISTED = 20


class MediaFolder:
    """Raises OutputError where the folder cannot be made or written."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._saved: dict[str, tuple[Media, list[str]]] = {}
        self._damaged: list[str] = []
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
        except OSError as problem:
            raise OutputError(f"The folder {safe_line(path)} could not be made: {problem.strerror}.") from None

    def save(self, media: Media, place: str) -> str | None:
        """The path of the file; None where the stored base64 is damaged. `place`: where it stands."""
        content = media.decoded()
        if content is None:
            self._damaged.append(place)
            return None
        path = os.path.join(self._path, media.file_name(content))
        if path not in self._saved:
            output.write_file(path, content)
        places = self._saved.setdefault(path, (media, []))[1]
        if place not in places:
            places.append(place)
        return path

    def account(self) -> str:
        """What was written since the last account, in words: also what a report cut out is named here."""
        saved, damaged = list(self._saved.items()), self._damaged
        self._saved, self._damaged = {}, []
        lines = [f"Saved {plural(len(saved), 'file')}:"] if saved else []
        lines += [
            f"  {safe_line(path)} ({safe_line(media.kind)}, {media.octets:,} bytes, {_places(places)})"
            for path, (media, places) in saved[:_LISTED]
        ]
        lines += [f"  and {len(saved) - _LISTED} more"] if len(saved) > _LISTED else []
        if damaged:
            lines.append(f"Not saved: {plural(len(damaged), 'piece')} of damaged or cut base64 ({_places(damaged)}).")
        return "\n".join(["", *(lines or ["No media in what was selected; nothing was saved."]), ""])


def _places(places: list[str]) -> str:
    return f"in {', '.join(places[:3])}" + (f" and {len(places) - 3} more" if len(places) > 3 else "")
