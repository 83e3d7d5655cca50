"""How many machines: the formula, and the tables that the README has from it."""

import pytest

from deploy.capacity import Model, Plan
from tests.deploy.conftest import DEPLOY


@pytest.mark.parametrize("table", [Plan().summary(), Plan().table()], ids=["summary", "table"])
def test_the_tables_in_the_readme_are_those_of_the_measured_figures(table: str) -> None:
    assert table in (DEPLOY / "README.md").read_text()


@pytest.fixture
def model() -> Model:
    return Model("half of real time", 0.5, 100)


@pytest.fixture
def plan() -> Plan:
    return Plan(utilisation=0.5, spoken_to=0.4, cached=0.5, price=1.0)


def test_a_core_serves_as_many_streams_as_the_formula_says(model: Model, plan: Plan) -> None:
    assert plan.streams(model) == pytest.approx(2.5)


@pytest.mark.parametrize(("listeners", "replicas"), [(1, 1), (5, 1), (6, 2), (1000, 200)])
def test_replicas_follow_the_formula(model: Model, plan: Plan, listeners: int, replicas: int) -> None:
    assert plan.replicas(model, listeners) == replicas


def test_an_hour_of_speech_costs_what_the_formula_says(model: Model, plan: Plan) -> None:
    assert plan.hour_of_speech(model) == pytest.approx(2.0)
