"""Checks of manifests: by the schemas that packages ship, and for KServe by the types of its own package."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import optional

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
# Where `make test-deploy` puts KServe's package, alone: what it depends on would change what is installed here.
KSERVE = Path(sys.prefix) / "kserve" / "kserve" / "models"


class KServeTypes:
    """The types that KServe generates from its custom resources, read as text: importing them needs half of its server.

    Types of Kubernetes itself in them are those of `kubernetes`, definitions of a JSON schema by short name.
    """

    def __init__(self, folder: Path, kubernetes: dict[str, Any]) -> None:
        self._kubernetes = kubernetes
        self._types: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
        for file in folder.glob("*.py"):
            for kind in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(kind, ast.ClassDef):
                    tables = {
                        part.targets[0].id: ast.literal_eval(part.value)
                        for part in kind.body
                        if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name)
                    }
                    if {"openapi_types", "attribute_map"} <= tables.keys():
                        self._types[kind.name] = tables["openapi_types"], tables["attribute_map"]

    def faults(self, value: Any, kind: str, place: str) -> list[str]:
        """What of a value a type does not allow, each with its place."""
        if kind.startswith("list["):
            if not isinstance(value, list):
                return [f"{place} is no list"]
            return [
                fault
                for i, one in enumerate(value)
                for fault in self.faults(one, kind[5:-1], f"{place}[{i}]")
            ]
        if kind.startswith("dict("):
            inner = kind[5:-1].partition(", ")[2]
            if not isinstance(value, dict):
                return [f"{place} is no mapping"]
            return [
                fault for key, one in value.items() for fault in self.faults(one, inner, f"{place}.{key}")
            ]
        if kind in ("str", "int", "bool", "float", "object"):
            wanted = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}[kind]
            strict = isinstance(value, bool) and kind != "bool" and kind != "object"
            return [] if isinstance(value, wanted) and not strict else [f"{place} is {value!r}, no {kind}"]
        if kind in self._types:
            return self._of_fields(value, kind, place)
        return self._of_kubernetes(value, kind, place)

    def _of_fields(self, value: Any, kind: str, place: str) -> list[str]:
        kinds, names = self._types[kind]
        by_name = {names[field]: kinds[field] for field in kinds}
        if not isinstance(value, dict):
            return [f"{place} is no mapping"]
        faults = [f"{place}.{key}: {kind} has no such field" for key in value.keys() - by_name.keys()]
        for key in value.keys() & by_name.keys():
            faults += self.faults(value[key], by_name[key], f"{place}.{key}")
        return faults

    def _of_kubernetes(self, value: Any, kind: str, place: str) -> list[str]:
        from jsonschema import Draft202012Validator

        name = kind.removeprefix("V1").removeprefix("Resource")
        places = (
            "io.k8s.api.core.v1",
            "io.k8s.apimachinery.pkg.apis.meta.v1",
            "io.k8s.apimachinery.pkg.api.resource",
        )
        (definition,) = [f"{place}.{name}" for place in places if f"{place}.{name}" in self._kubernetes]
        schema = {"$ref": f"#/$defs/{definition}", "$defs": self._kubernetes}
        return [
            f"{place}{error.json_path[1:]}: {error.message}"
            for error in Draft202012Validator(schema).iter_errors(value)
        ]


@pytest.fixture(scope="session")
def kserve_types() -> KServeTypes:
    """The types of KServe's package."""
    if not KSERVE.is_dir():
        pytest.skip(f"KServe's package is not in {KSERVE.parents[1]}; make test-deploy puts it there")
    kubernetes_validate = optional.library("kubernetes_validate", extra="deploy")
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    newest = Path(f"v{kubernetes_validate.latest_version()}-local-strict")
    definitions = json.loads((folder / newest / "_definitions.json").read_text(encoding="utf-8"))
    return KServeTypes(KSERVE, definitions["$defs"])
