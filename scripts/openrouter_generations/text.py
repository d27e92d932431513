"""Values as people read them: numbers, money, time, sizes, and untrusted text made safe to print."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from decimal import Decimal

_UNSAFE = (
    "\x00-\x1f\x7f-\x9f"  # C0 and C1 controls, DEL
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks and overrides
    "\u2028\u2029"  # line separators: some terminals and readers break lines there
    "\ud800-\udfff"  # lone surrogates: not encodable
)
_UNSAFE_IN_LINE = re.compile(f"[{_UNSAFE}]")
_UNSAFE_IN_TEXT = re.compile(f"(?![\n\t])[{_UNSAFE}]")
_KEY = re.compile(r"sk-or-[A-Za-z0-9_-]+")


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def safe_text(text: str) -> str:
    """Text of any origin for a report: newline and tab stay, what could steer a terminal is escaped."""
    return _UNSAFE_IN_TEXT.sub(_escaped, text)


def safe_line(text: str) -> str:
    """As safe_text, on one line: newlines and tabs are escaped too."""
    return _UNSAFE_IN_LINE.sub(lambda m: {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(m[0]) or _escaped(m), text)


def scrubbed(text: str, *secrets: str) -> str:
    """Text without any `sk-or-…` string and without the given secrets."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[key removed]")
    return _KEY.sub("[key removed]", text)


UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def encoding_of(octets: bytes) -> str:
    """The encoding of a user's text file: UTF-8, or UTF-16 with a mark, as Windows shells redirect."""
    return "utf-16" if octets[:2] in UTF_16_MARKS else "utf-8-sig"


def json_text(value: object, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """JSON for a terminal or a file: characters that could steer a terminal as `\\uXXXX`.

    With indent 2 it is what JavaScript's `JSON.stringify(x, null, 2)` gives as
    data; without, it is compact and on one line. `ascii_only` escapes the rest too.
    """
    import json

    separators = None if indent else (",", ":")
    dumped = json.dumps(value, ensure_ascii=ascii_only, indent=indent, separators=separators)
    return re.sub(f"(?!\n)[{_UNSAFE}]", lambda m: f"\\u{ord(m[0]):04x}", dumped)


def number(value: float) -> str:
    """A number as JavaScript prints it: 88813, 457.5, 1e-9, 1e+21.

    Whatever reads the output of the TypeScript original expects this form.
    """
    if isinstance(value, int) and abs(value) > 2**53:
        try:
            value = float(value)
        except OverflowError:
            value = math.inf if value > 0 else -math.inf
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    from decimal import Decimal

    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    point = len(digits) + exponent  # where the decimal point stands, counted from the first digit
    figures = "".join(map(str, digits))
    minus = "-" if sign and value else ""
    if value == 0:
        return "0"
    if -6 < point <= 21:
        if exponent >= 0:
            return minus + figures + "0" * exponent
        if point > 0:
            return f"{minus}{figures[:point]}.{figures[point:]}"
        return f"{minus}0.{'0' * -point}{figures}"
    mantissa = figures[0] + (f".{figures[1:]}" if len(figures) > 1 else "")
    return f"{minus}{mantissa}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def plain(value: object) -> str:
    """Any JSON value on one line, safe to print: strings bare, numbers as `number`, the rest as JSON."""
    if isinstance(value, str):
        return safe_line(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number(value)
    return json_text(value)


def usd(value: float | Decimal) -> str:
    """US dollars as the TypeScript original prints them: cents at least, eight decimals at most.

    Below a millionth the form is scientific with four decimals. Ties are
    rounded up, as JavaScript's toFixed and toExponential do.
    """
    from decimal import ROUND_HALF_UP, Context, Decimal

    if value == 0:
        return "$0.00"
    exact = value if isinstance(value, Decimal) else Decimal(value)
    sign, size = ("-", -exact) if exact < 0 else ("", exact)
    if size >= Decimal("1e21"):
        return f"{sign}${number(float(size))}"
    if size >= Decimal(0.000001):  # noqa: RUF032 -- the double that JavaScript compares with
        rounded = size.quantize(Decimal("1e-8"), ROUND_HALF_UP, Context(prec=40))
        whole, _, decimals = f"{rounded:f}".partition(".")
        return f"{sign}${whole}.{decimals.rstrip('0').ljust(2, '0')}"
    power = size.adjusted()
    mantissa = size.scaleb(-power).quantize(Decimal("1e-4"), ROUND_HALF_UP)
    if mantissa >= 10:
        mantissa, power = mantissa / 10, power + 1
    return f"{sign}${mantissa:.4f}e{power}"


def grouped(value: float) -> str:
    """12,345 or 12,345.5: counts for people."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def percent(part: float, whole: float) -> str:
    """`72%` of a whole that is not zero; `<1%` and `>99%` instead of a misleading 0 or 100."""
    share = 100 * part / whole
    if 0 < share < 1:
        return "<1%"
    if 99 < share < 100:
        return ">99%"
    return f"{share:.0f}%"


def duration(milliseconds: float) -> str:
    """`442 ms`, `1.02 s`, `2 min 12 s`, `3 h 05 min`."""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(octets: int) -> str:
    """`812 B`, `1.3 MB` (decimal units)."""
    if octets < 1000:
        return f"{octets} B"
    amount, unit = octets / 1000, "kB"
    for larger in ("MB", "GB"):
        if amount >= 999.5:
            amount, unit = amount / 1000, larger
    return f"{amount:.1f} {unit}" if amount < 99.95 else f"{amount:.0f} {unit}"


def plural(quantity: int, noun: str) -> str:
    """`1 attempt`, `3 attempts`, `1,024 tokens`."""
    return f"{quantity:,} {noun}" if quantity == 1 else f"{quantity:,} {noun}s"


def table(rows: Sequence[Sequence[str]], right: Iterable[int] = (), gap: str = "  ") -> list[str]:
    """Rows of cells as aligned lines; the columns named in `right` are aligned to the right."""
    if not rows:
        return []
    to_right = set(right)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if i in to_right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(gap.join(cells).rstrip())
    return lines
