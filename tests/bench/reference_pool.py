"""A bare httpx client in a thread pool: IDs from a file, the sum of their cost."""

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

workers = int(sys.argv[2])
ids = list(dict.fromkeys(re.findall(r"gen-\d{10}-[A-Za-z0-9]{20}", Path(sys.argv[1]).read_text())))
with (
    httpx.Client(
        base_url=os.environ["OPENROUTER_BASE_URL"] + "/api/v1",
        headers={"Authorization": f"Bearer {os.environ['OPENROUTER_API_KEY']}"},
        limits=httpx.Limits(max_connections=workers, max_keepalive_connections=workers),
    ) as client,
    ThreadPoolExecutor(workers) as pool,
):
    records = pool.map(lambda one: client.get("/generation", params={"id": one}).raise_for_status().json(), ids)
    print(sum(record["data"]["total_cost"] for record in records))
