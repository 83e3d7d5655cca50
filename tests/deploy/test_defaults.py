"""deploy/defaults.py, and every number of run.sh that another file has to repeat."""

import re

import pytest

from deploy.defaults import cache_capacities, defaults, setting
from tests.conftest import ROOT
from tests.deploy.conftest import DEPLOY


def test_the_defaults_are_those_of_run_sh() -> None:
    assert defaults() == {
        "MODELS": "$PWD/models.toml",
        "HOST": "127.0.0.1",
        "PORT": "8000",
        "GRACE_S": "10",
        "MAX_HEAD_BYTES": "81920",
        "TORCH_INDEX": "https://download.pytorch.org/whl/cpu",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "2048",
        "LRU_CACHE_CAPACITY": "1",
        "MALLOC_CONF": "narenas:2,background_thread:true,dirty_decay_ms:5000,muzzy_decay_ms:5000",
    }


def test_the_usage_of_run_sh_names_its_defaults() -> None:
    usage = (ROOT / "run.sh").read_text().split("\nset -euo")[0]
    named = dict(re.findall(r"(?<!\w)(\w+)=(\S+)", usage))
    stated = {name: value for name, value in defaults().items() if name not in ("MODELS", "MALLOC_CONF")}
    assert {name: named[name] for name in stated} == stated


@pytest.mark.parametrize(("value", "expected"), [(None, "10"), ("", "10"), ("3", "3")])
def test_a_setting_comes_from_the_environment_first(
    monkeypatch: pytest.MonkeyPatch, value: str | None, expected: str
) -> None:
    monkeypatch.delenv("GRACE_S", raising=False)
    if value is not None:
        monkeypatch.setenv("GRACE_S", value)
    assert setting("GRACE_S") == expected


def test_cache_capacities_are_settings_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    monkeypatch.delenv("LRU_CACHE_CAPACITY", raising=False)
    assert cache_capacities() == {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "1"}


def test_every_file_of_deploy_that_names_a_variable_has_the_default() -> None:
    found = [
        (path.name, name, value.strip("\"'` "))
        for path in sorted(DEPLOY.iterdir())
        if path.is_file() and path.name != "leak.md"  # which measures other settings than run.sh's
        for name, value in re.findall(r"\b([A-Z_]{4,})[=:] ?([\w.,:/\"]+)", path.read_text())
        if name in ("GRACE_S", "MAX_HEAD_BYTES", "TORCH_INDEX", "MALLOC_CONF", *cache_capacities())
    ]
    assert ("gunicorn.md", "MALLOC_CONF", defaults()["MALLOC_CONF"]) in found
    assert ("vits-speak.service", "GRACE_S", "10") in found
    assert [entry for entry in found if entry[2] not in (defaults()[entry[1]], "...")] == []


def test_every_address_in_deploy_has_the_default_port() -> None:
    addresses = {
        (path.name, port)
        for path in sorted(DEPLOY.iterdir())
        if path.is_file()
        for port in re.findall(r"(?:127\.0\.0\.1|:8\d{3}|EXPOSE|PORT):?[ =]?(\d{4})", path.read_text())
    }
    assert {name for name, _ in addresses} >= {"Dockerfile", "compose.yaml", "nginx.conf", "vits-speak.service"}
    assert {port for name, port in addresses if (name, port) != ("systemd.md", "8001")} == {defaults()["PORT"]}
