"""Five lines of httpx that print a generation: what one call costs at least."""

import json, os, sys, httpx  # noqa: E401, I001 -- as short as a person would write it

url = os.environ["OPENROUTER_BASE_URL"] + "/api/v1/generation"
headers = {"Authorization": f"Bearer {os.environ['OPENROUTER_API_KEY']}"}
print(json.dumps(httpx.get(url, params={"id": sys.argv[1]}, headers=headers).raise_for_status().json(), indent=2))
