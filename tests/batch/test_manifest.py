"""The KubeRay manifest of docs/scale.md: fields and types by KubeRay's custom resource definition, a part of it."""

from pathlib import Path

import jsonschema
import yaml

from undim.cli.main import VERBS, _command

MANIFEST = Path(__file__).parents[2] / "docs" / "kuberay-rayjob.yaml"
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_QUANTITIES = {
    "type": "object",
    "additionalProperties": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?([KMGTPE]i|[mkMGTPE])?$"},
}


def _closed(properties, required=()):
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


_CONTAINER = _closed(
    {
        "name": {"type": "string"},
        "image": {"type": "string"},
        "env": {
            "type": "array",
            "items": _closed({"name": {"type": "string"}, "value": {"type": "string"}}, ["name"]),
        },
        "envFrom": {
            "type": "array",
            "items": _closed({"secretRef": _closed({"name": {"type": "string"}})}),
        },
        "resources": _closed({"limits": _QUANTITIES, "requests": _QUANTITIES}),
    },
    ["name"],
)
_POD = _closed({"spec": _closed({"containers": {"type": "array", "minItems": 1, "items": _CONTAINER}}, ["containers"])})
_WHOLE = {"type": "integer", "minimum": 0}
_SCHEMA = _closed(
    {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayJob"},
        "metadata": {"type": "object"},
        "spec": _closed(
            {
                "entrypoint": {"type": "string"},
                "shutdownAfterJobFinishes": {"type": "boolean"},
                "ttlSecondsAfterFinished": _WHOLE,
                "rayClusterSpec": _closed(
                    {
                        "rayVersion": {"type": "string"},
                        "headGroupSpec": _closed(
                            {"rayStartParams": _TEXTS, "template": _POD}, ["rayStartParams", "template"]
                        ),
                        "workerGroupSpecs": {
                            "type": "array",
                            "items": _closed(
                                {
                                    "groupName": {"type": "string"},
                                    "replicas": _WHOLE,
                                    "minReplicas": _WHOLE,
                                    "maxReplicas": _WHOLE,
                                    "rayStartParams": _TEXTS,
                                    "template": _POD,
                                },
                                ["groupName", "maxReplicas", "minReplicas", "rayStartParams", "template"],
                            ),
                        },
                    },
                    ["headGroupSpec"],
                ),
            }
        ),
    },
    ["apiVersion", "kind", "metadata", "spec"],
)
"""Of the fields that the manifest uses, by the definition of rayjobs.ray.io, version v1; others are refused."""


def test_the_manifest_keeps_to_the_definition():
    jsonschema.Draft202012Validator.check_schema(_SCHEMA)
    found = jsonschema.Draft202012Validator(_SCHEMA).iter_errors(yaml.safe_load(MANIFEST.read_text()))
    assert [error.message for error in found] == []


def test_its_command_is_one():
    words = yaml.safe_load(MANIFEST.read_text())["spec"]["entrypoint"].split()
    assert words[:2] == ["undim", "batch"]
    command = _command("batch", VERBS["batch"])
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
