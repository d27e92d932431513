"""The same with OpenRouter's own Python SDK (package `openrouter`)."""

import os
import sys

from openrouter import OpenRouter

with OpenRouter(
    api_key=os.environ["OPENROUTER_API_KEY"], server_url=os.environ["OPENROUTER_BASE_URL"] + "/api/v1"
) as client:
    print(client.generations.get_generation(id=sys.argv[1]).model_dump_json(indent=2))
