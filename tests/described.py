"""openapi.json, as the tests read it."""

import json
from typing import Any

from tests.conftest import ROOT

PATH = ROOT / "service/web/openapi.json"
DOCUMENT: dict[str, Any] = json.loads(PATH.read_bytes())


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """A node with what its $ref or its allOf refers to; what stands beside them comes first."""
    for reference in (node, *node.get("allOf", ())):
        if "$ref" in reference:
            target: Any = DOCUMENT
            for key in reference["$ref"].removeprefix("#/").split("/"):
                target = target[key]
            node = {**resolve(target), **node}
    return {key: value for key, value in node.items() if key != "$ref"}


def errors() -> set[tuple[str, str]]:
    """Every status and code that some operation can answer."""
    return {
        (status, code)
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
        for status, response in operation["responses"].items()
        for content in resolve(response).get("content", {}).values()
        for part in content.get("schema", {}).get("allOf", ())
        for code in part.get("properties", {}).get("error", {}).get("properties", {}).get("code", {}).get("enum", ())
    }
