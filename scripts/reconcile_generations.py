#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.10"
# dependencies = ["httpx>=0.27,<0.29", "python-dotenv>=1.0,<2"]
# ///
"""What a log really cost: every OpenRouter generation that files mention, fetched once, totalled and kept.

Reads any text (agent transcripts, JSON Lines, CSV exports, plain logs, .gz of these), files and folders."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from openrouter_generations import cli

EXAMPLES = """
  reconcile_generations.py session.jsonl --save receipts.jsonl    again: asks only for what is missing
  reconcile_generations.py ~/.claude/projects/app --by model --by day
  reconcile_generations.py --from receipts.jsonl --by session     from saved records; needs no key
  grep worker-7 app.log | reconcile_generations.py - --json
"""


def report(args: argparse.Namespace) -> int:
    from openrouter_generations import reconciliation

    return reconciliation.reconcile(args)


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.Parser(__doc__, EXAMPLES)
    parser.add_argument("files", metavar="FILE", nargs="*", help="files or folders to search; - is standard input")
    parser.add_argument(
        "--save", metavar="RECEIPTS.jsonl", help="keep every record there as it comes; what it holds is not asked again"
    )
    parser.add_argument(
        "--from", dest="sources", metavar="RECEIPTS.jsonl", action="append", default=[],
        help="take records from there (repeatable) and ask for nothing; without FILE, report on all of them",
    )  # fmt: skip
    parser.add_argument(
        "--by", action="append", choices=("model", "provider", "finish_reason", "session", "day"),
        help="what to group by (repeatable; default: model)",
    )  # fmt: skip
    parser.add_argument(
        "--concurrency", metavar="N", type=cli.whole(1, 256), default=8, help="requests at the same time (default: 8)"
    )
    parser.add_output(json_help="print totals, groups and every generation as one JSON object")
    parser.add_argument("--csv", action="store_true", help="print a CSV row per generation")
    parser.add_network()
    return cli.run(parser, report, argv)


if __name__ == "__main__":
    raise SystemExit(main())
