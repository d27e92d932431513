"""json.loads over every line of a file: what reading receipts costs at least."""

import json
import sys

with open(sys.argv[1], "rb") as file:
    print(sum(json.loads(line)["data"]["total_cost"] for line in file))
