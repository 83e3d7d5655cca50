"""How many machines: the formula, and the tables that the README has from it."""

import pytest

import server
from deploy.capacity import BASE_MB, CACHE_MB, FULL_SIZE, Model, Plan
from tests.deploy.conftest import DEPLOY


@pytest.mark.parametrize("table", [Plan().summary(), Plan().table()], ids=["summary", "table"])
def test_the_tables_in_the_readme_are_those_of_the_measured_figures(table: str) -> None:
    assert table in (DEPLOY / "README.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "ray.md"])
def test_the_pages_name_the_measured_memory(page: str) -> None:
    text = (DEPLOY / page).read_text()
    assert f"{BASE_MB} MB" in text
    assert f"{FULL_SIZE.weights_mb} MB for" in text


def test_the_cache_is_as_large_as_the_settings_have_it_by_default() -> None:
    assert server.Settings.__dataclass_fields__["cache_mb"].default == CACHE_MB


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
