"""The OpenAPI document against what the service does: schemathesis asks by it, and holds the answers against it."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

schemathesis = pytest.importorskip("schemathesis")
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402 - the line above skips where it is missing

NOT_FOR_US = [positive_data_acceptance]
"""Bytes that are fine by the document need not be a picture."""


def hold(service, examples):
    """Ask so many times for each operation."""
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    schema.config.update(base_url=service.url)
    asked = []
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case):
            case.call_and_validate(
                timeout=60, excluded_checks=NOT_FOR_US
            )  # no 500, and no status, type, header or body that is not documented

        ask()
        asked.append(f"{operation.method.upper()} {operation.path}")
    return asked


ALL = ["POST /v1/enhance", "GET /v1/models", "GET /healthz", "GET /readyz", "GET /metrics"]


def test_answers_are_those_of_the_document(service):
    assert hold(service, 5) == ALL


@pytest.mark.slow
def test_many_answers_are_those_of_the_document(service):
    assert hold(service, 40) == ALL
