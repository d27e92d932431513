#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.10"
# dependencies = ["httpx>=0.27,<0.29", "python-dotenv>=1.0,<2"]
# ///
"""Metadata of OpenRouter generations: model, provider, tokens, cost, time, status,
provider attempts, and what is remarkable about them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from openrouter_generations import cli

EXAMPLES = """
  get_generation.py gen-1771967930-1gsys6ZhRaY0TPbuRsDR
  get_generation.py gen-… gen-… --json        one JSON object a line
  get_generation.py --wait 60 gen-…           a record that may not be written yet
  get_generation.py --from saved.json         a saved response; needs no key
"""


def report(args: argparse.Namespace) -> int:
    from openrouter_generations import metadata_report, results

    return results.report(args, "metadata", metadata_report.render)


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.Parser(__doc__, EXAMPLES)
    parser.add_ids()
    parser.add_output()
    parser.add_network()
    return cli.run(parser, report, argv)


if __name__ == "__main__":
    raise SystemExit(main())
