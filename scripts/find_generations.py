#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.10"
# dependencies = ["httpx>=0.27,<0.29", "python-dotenv>=1.0,<2"]
# ///
"""Generations nobody wrote down: those of a time, dearest, largest, slowest or newest
first; or the whole session, or API request, that a generation belongs to, in order
of time and as a picture. Needs a management key:
https://openrouter.ai/settings/management-keys"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from openrouter_generations import cli

EXAMPLES = """
  find_generations.py --since 1h --limit 1 --details     the dearest call of the last hour, and why
  find_generations.py --since 3d --sort time --finish-reason error
  find_generations.py --since 2026-11-12T09:00 --until 2026-11-12T12:00 --model openai/gpt-4o
  find_generations.py --like gen-1771967930-1gsys6ZhRaY0TPbuRsDR        its whole session
  find_generations.py --session nightly-42 --since 6h --json
  find_generations.py --since 2h --limit 0 --ids | reconcile_generations.py -
"""


def search(args: argparse.Namespace) -> int:
    from openrouter_generations import searching

    return searching.find(args)


def _add_list(parser: cli.Parser) -> None:
    when = "2h, 30m, 3d (ago), 2026-11-12, 2026-11-12T09:00Z; UTC where no zone is named"
    parser.add_argument("--since", metavar="TIME", help=f"from here on (default: 24h): {when}")
    parser.add_argument("--until", metavar="TIME", help="up to here (default: now); 31 days at most in all")
    for flag, metavar, what in (
        ("--model", "SLUG", "only this model, by permaslug"),
        ("--provider", "NAME", "only this provider"),
        ("--finish-reason", "REASON", "only this finish reason: stop, length, tool_calls, content_filter, error"),
        ("--external-user", "USER", "only this user of your app"),
        ("--origin", "URL", "only this origin"),
        ("--api-key-id", "ID", "only this key, by number or hash"),
    ):
        parser.add_argument(flag, metavar=metavar, action="append", default=[], help=f"{what}; repeatable")
    parser.add_argument(
        "--sort", choices=("cost", "tokens", "latency", "time"), help="largest or newest first (default: cost)"
    )
    parser.add_argument(
        "--limit", metavar="N", type=cli.whole(0, 10**9), help="how many are shown (default: 20, a trace 100; 0: all)"
    )
    parser.add_argument(
        "--details",
        action="store_true",
        help="fetch each record: provider, times, findings, and why the first is first",
    )


def _add_trace(parser: cli.Parser) -> None:
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--like", metavar="GEN-ID", help="trace the session and request of this generation")
    start.add_argument("--session", metavar="ID", help="trace this session (session_id)")
    start.add_argument("--request", metavar="ID", help="trace this API request (request_id)")
    parser.add_argument(
        "--window", metavar="SPAN", help="where a trace looks: so long before and after (default: 2h): 30m, 6h, 2d"
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.Parser(__doc__, EXAMPLES)
    _add_list(parser)
    _add_trace(parser)
    parser.add_argument("--ids", action="store_true", help="print bare IDs, one a line")
    parser.add_output("print one JSON object; its shape is in references/find.md")
    parser.add_argument("--save", metavar="FILE", help="keep fetched records there (JSON Lines); ask only for others")
    parser.add_argument(
        "--concurrency", metavar="N", type=cli.whole(1, 256), default=8, help="requests at the same time (default: 8)"
    )
    parser.add_network()
    return cli.run(parser, search, argv)


if __name__ == "__main__":
    raise SystemExit(main())
