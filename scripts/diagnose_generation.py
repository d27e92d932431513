#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.10"
# dependencies = ["httpx>=0.27,<0.29", "python-dotenv>=1.0,<2"]
# ///
"""Why a generation failed, stopped, was slow, expensive or odd: a verdict, what
explains it and what to change, the time of each attempt, the cost. Several IDs
are compared: what differs, and what explains the difference in cost and time."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from openrouter_generations import cli

EXAMPLES = """
  diagnose_generation.py gen-1771967930-1gsys6ZhRaY0TPbuRsDR
  diagnose_generation.py gen-… gen-…          why one cost more or took longer
  diagnose_generation.py gen-… --json         the same as data
  diagnose_generation.py --from metadata.json --from content.json
"""


def report(args: argparse.Namespace) -> int:
    from openrouter_generations import diagnosing

    return diagnosing.report(args)


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.Parser(__doc__, EXAMPLES)
    parser.add_ids()
    parser.add_output("print the diagnosis as JSON; several IDs: one object a line, the last with `comparison`")
    parser.add_network()
    return cli.run(parser, report, argv)


if __name__ == "__main__":
    raise SystemExit(main())
