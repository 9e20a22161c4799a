"""The application against its own OpenAPI schema, by requests that Schemathesis makes up."""

from __future__ import annotations

from pathlib import Path

import pytest
from app_client import listening_app
from hand_made_lake import make_home

from resources.workspace import open_workspace
from vistag_assets.review.queue import update_queue

pytestmark = pytest.mark.extras


def test_no_request_that_the_schema_allows_or_forbids_is_an_error_of_the_server(tmp_path: Path) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from hypothesis import HealthCheck, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import response_schema_conformance

    home = make_home(tmp_path / "home")
    update_queue(open_workspace(home))
    with listening_app(home) as client:
        schema = schemathesis.openapi.from_url(f"{client.url}/openapi.json")
        operations = [operation.ok() for operation in schema.get_all_operations()]
        assert len(operations) >= 10
        for operation in operations:

            @given(case=operation.as_strategy())
            @settings(max_examples=25, suppress_health_check=list(HealthCheck))
            def holds(case: schemathesis.Case) -> None:
                response = case.call(timeout=120)
                checks = [response_schema_conformance]
                # models and vocabulary are not there in this home: that is told, and is no fault
                if response.status_code not in (501, 503):
                    checks.append(not_a_server_error)
                case.validate_response(response, checks=checks)

            holds()
