"""docs/compatibility.md lists what the code answers, and no service or list is forgotten."""

from __future__ import annotations

from helpers import compatibility_page

from sluiceway.edges.routing import SCOPES


def test_the_lists_are_what_the_code_answers() -> None:
    page = compatibility_page.PAGE.read_text()
    assert page == compatibility_page.filled(page), "run scripts/docs"


def test_every_list_is_on_the_page_once() -> None:
    names = compatibility_page.names_in(compatibility_page.PAGE.read_text())
    assert sorted(names) == sorted(compatibility_page.lists())


def test_every_operation_is_one_of_the_service_model() -> None:
    for service, names in compatibility_page.operations().items():
        assert names <= set(compatibility_page.model_operations(service)), service


def test_every_service_that_requests_are_routed_to_is_there() -> None:
    there = set(compatibility_page.operations()) | {"elasticsearch"}
    assert set(SCOPES.values()) - {"apigateway"} <= there  # version 1 is told apart by its scope, to be refused
