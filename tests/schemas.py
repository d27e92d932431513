"""The API's own description (tests/data/openapi-generations.json) as a check on samples and answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

DESCRIPTION = json.loads(
    (Path(__file__).resolve().parent / "data" / "openapi-generations.json").read_text(encoding="utf-8")
)

RESPONSES = {
    400: "BadRequestResponse",
    401: "UnauthorizedResponse",
    402: "PaymentRequiredResponse",
    403: "ForbiddenResponse",
    404: "NotFoundResponse",
    408: "RequestTimeoutResponse",
    429: "TooManyRequestsResponse",
    500: "InternalServerResponse",
    502: "BadGatewayResponse",
    524: "EdgeNetworkTimeoutResponse",
    529: "ProviderOverloadedResponse",
}
"""The schema of an error's body by status."""


@cache
def _validator(pointer: str) -> Draft202012Validator:
    # The description is OpenAPI 3.1, whose schemas are JSON Schema 2020-12;
    # its "#/components/…" references resolve when components stand beside.
    schema = {"$ref": pointer, "components": DESCRIPTION["components"], "paths": DESCRIPTION["paths"]}
    return Draft202012Validator(schema)


def problems(instance: Any, schema: str) -> list[str]:
    """Where an instance deviates: `path: message` each; empty when it is valid.

    `schema` is a name of components/schemas (GenerationResponse) or a whole
    pointer (#/paths/…).
    """
    pointer = schema if schema.startswith("#") else f"#/components/schemas/{schema}"
    found = sorted(_validator(pointer).iter_errors(instance), key=lambda error: list(map(str, error.path)))
    return [f"{'.'.join(map(str, error.path)) or '(whole)'}: {error.message[:300]}" for error in found]


def validate(instance: Any, schema: str) -> None:
    """AssertionError that lists every deviation."""
    found = problems(instance, schema)
    assert not found, f"not a {schema}:\n" + "\n".join(found)


def operation_schema(path: str, method: str, status: int | None) -> str:
    """Pointer to the schema of an operation's answer, or of its request body when `status` is None."""
    steps = ["requestBody"] if status is None else ["responses", str(status)]
    parts = ["paths", path.replace("/", "~1"), method, *steps, "content", "application~1json", "schema"]
    return "#/" + "/".join(parts)


def examples() -> Iterator[tuple[str, Any, str]]:
    """Every example of the description: where it stands, the example, its schema."""
    for name, schema in DESCRIPTION["components"]["schemas"].items():
        if "example" in schema:
            yield name, schema["example"], name
    for path, methods in DESCRIPTION["paths"].items():
        for method, operation in methods.items():
            bodies = {None: operation.get("requestBody"), **operation["responses"]}
            for status, body in bodies.items():
                if body and "example" in body["content"]["application/json"]:
                    example = body["content"]["application/json"]["example"]
                    code = None if status is None else int(status)
                    yield f"{method} {path} {status or 'body'}", example, operation_schema(path, method, code)
