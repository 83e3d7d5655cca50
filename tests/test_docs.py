"""README.md and docs/ against what they repeat: openapi.json, the settings, models.toml, run.sh; and their links."""

import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import server
from deploy.defaults import setting
from service import connections, recordings
from service.process import MOST_DEFAULT_THREADS
from tests import described
from tests.conftest import ROOT, model_table
from vits import limits

README, API, MODELS = ((ROOT / page).read_text() for page in ("README.md", "docs/api.md", "docs/models.md"))
PAGES = [
    ROOT / "README.md",
    ROOT / "voices/README.md",
    ROOT / "training/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


def table(document: str, heading: str) -> list[dict[str, str]]:
    """The rows of the first table under a heading, by the table's own column names."""
    _, _, section = document.partition(f"\n{heading}\n")
    assert section, f"no heading {heading!r}"
    lines = re.split(r"\n#+ ", section)[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    names, _, *rows = cells
    return [dict(zip(names, row, strict=True)) for row in rows]


def quoted(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]*)`", cell)


# docs/api.md


def speak_parameters() -> dict[str, tuple[str, list[str]]]:
    """The default and the values of each parameter of GET /speak, in the words of docs/api.md."""
    rows = [described.resolve(parameter) for parameter in described.DOCUMENT["paths"]["/speak"]["get"]["parameters"]]
    return {
        row["name"]: (
            described_default(row, row.get("required", False)),
            described_values(described.resolve(row["schema"])),
        )
        for row in rows
        if row["in"] == "query"
    }


def described_default(node: dict[str, Any], required: bool) -> str:
    """What a description says after "Default: "; else the default that the schema has."""
    if required:
        return "required"
    found = re.search(r"Default: (.*)\.$", node.get("description", ""))
    return found[1] if found else str(node["default"])


def described_values(schema: dict[str, Any]) -> list[str]:
    """The choices of a schema, or its range."""
    if schema.get("type") == "boolean":
        return ["true", "false"]
    if "minimum" in schema:
        return [f"{schema['minimum']:g} to {schema['maximum']:.10g}"]
    return [choice for choice in schema.get("enum", ()) if choice is not None]


def shown_values(cell: str) -> list[str]:
    """The same of a table's cell; a length in characters is the text's, whose limit is a setting."""
    if cell == "1 to `max_text_chars` characters":
        return []
    return quoted(cell) or ([cell] if cell else [])


def test_the_routes_are_those_of_the_description() -> None:
    operations = {
        f"{method.upper()} {path}"
        for path, methods in described.DOCUMENT["paths"].items()
        for method in methods
        if method in ("get", "head", "post")
    }
    assert {route for row in table(API, "## Routes") for route in quoted(row["route"])} == operations


def test_the_parameters_of_speak_have_the_described_names_defaults_and_values() -> None:
    shown = {
        quoted(row["parameter"])[0]: (row["default"], shown_values(row["values"]))
        for row in table(API, "## Parameters")
    }
    assert shown == speak_parameters()


def test_the_parameters_of_openais_api_have_the_described_names_defaults_and_values() -> None:
    schema = described.DOCUMENT["components"]["schemas"]["SpeechRequest"]
    *own, shared = table(API, "## OpenAI's API")
    shown = {quoted(row["parameter"])[0]: (row["default"], shown_values(row["values"])) for row in own}
    nodes = {name: described.resolve(node) for name, node in schema["properties"].items()}
    speaks = speak_parameters()
    assert {*quoted(shared["parameter"]), *shown} == set(nodes)
    assert set(quoted(shared["parameter"])) <= set(speaks)
    assert shown == {
        name: (described_default(nodes[name], name in schema["required"]), described_values(nodes[name]))
        for name in shown
    }


def test_the_defaults_that_the_description_names_are_the_servers() -> None:
    for name, default in limits.DEFAULTS.items():
        assert speak_parameters()[name][0] == f"the model's, else {default:g}"


def test_the_errors_have_the_described_statuses_and_codes() -> None:
    rows = [(row["status"], code) for row in table(API, "## Errors") for code in quoted(row["code"])]
    assert len(rows) == len(set(rows))
    # The description has no operation for a method that a route does not have.
    assert set(rows) == described.errors() | {("405", "method_not_allowed")}


def test_the_headers_are_those_of_a_described_answer() -> None:
    headers = set(described.DOCUMENT["components"]["responses"]["Speech"]["headers"])
    assert {name for row in table(API, "## Response headers") for name in quoted(row["header"])} == headers


def test_the_pages_name_the_servers_constants() -> None:
    assert f"{server.SILENCE_S:g} s of silence" in API
    assert f"max-age={recordings.MAX_AGE_S}`" in API
    assert f"at most {MOST_DEFAULT_THREADS} |" in MODELS


# docs/models.md


def toml_default(field: "dataclasses.Field[Any]") -> object:
    """The default of a setting as models.toml would write it; MISSING where there is none to write."""
    if field.default is None:
        return limits.DEFAULTS.get(field.name, dataclasses.MISSING)
    return list(field.default) if isinstance(field.default, tuple) else field.default


@pytest.mark.parametrize(
    ("heading", "settings", "not_keys"),
    [
        ("## [server]", server.Settings, {"path", "models", "aliases", "replace"}),
        ("## [[models]]", server.ModelSettings, set()),
    ],
)
def test_the_keys_of_models_toml_and_their_defaults_are_the_settings(
    heading: str, settings: type, not_keys: set[str]
) -> None:
    fields = {field.name: toml_default(field) for field in dataclasses.fields(settings) if field.name not in not_keys}
    rows = {quoted(row["key"])[0]: row["default"] for row in table(MODELS, heading)}
    assert set(rows) == set(fields)
    for key, shown in rows.items():
        values = [tomllib.loads(f"value = {value}")["value"] for value in quoted(shown)]
        assert values == ([] if fields[key] is dataclasses.MISSING else [fields[key]]), key


def key_ranges(heading: str) -> list[tuple[str, float, float]]:
    """The keys with a range of numbers: name, lowest, highest."""
    rows = [(row, re.fullmatch(r"([\d.]+) to ([\d.]+)", row["values"])) for row in table(MODELS, heading)]
    return [(quoted(row["key"])[0], float(found[1]), float(found[2])) for row, found in rows if found]


@pytest.mark.parametrize(("key", "low", "high"), key_ranges("## [server]"))
def test_a_number_of_the_server_table_has_the_range_of_the_table(
    tmp_path: Path, key: str, low: float, high: float
) -> None:
    def read(value: float) -> server.Settings:
        path = tmp_path / "models.toml"
        path.write_text(f"[server]\n{key} = {value:.0f}\n" + model_table("solo", "single_speaker_dp_resblock2"))
        return server.read_settings(path)

    assert [getattr(read(value), key) for value in (low, high)] == [low, high]
    for outside in (low - 1, high + 1):
        with pytest.raises(server.SettingsError, match=f"{key} = .* from {low:.0f} to {high:.0f}$"):
            read(outside)


@pytest.mark.parametrize(("key", "low", "high"), key_ranges("## [[models]]"))
def test_a_number_of_a_model_has_the_range_of_the_table(tmp_path: Path, key: str, low: float, high: float) -> None:
    def read(value: float) -> server.Settings:
        path = tmp_path / "models.toml"
        path.write_text(model_table("solo", "single_speaker_dp_resblock2", f"{key} = {value}"))
        return server.read_settings(path)

    assert [getattr(read(value).models[0], key) for value in (low, high)] == [low, high]
    for outside in (low - 0.01, high + 0.01):
        with pytest.raises(server.SettingsError, match=f"{key} = .* from {low:g} to {high:g}$"):
            read(outside)


@pytest.mark.parametrize(
    ("heading", "key", "choices"),
    [("## [server]", "precision", limits.PRECISIONS), ("## [[models]]", "lang", limits.LANGUAGES)],
)
def test_the_choices_of_a_key_are_those_of_the_server(heading: str, key: str, choices: tuple[str, ...]) -> None:
    (row,) = [row for row in table(MODELS, heading) if quoted(row["key"]) == [key]]
    assert [choice.strip('"') for choice in quoted(row["values"])] == list(choices)


def shown_in_models_toml(table_name: str) -> dict[str, object]:
    """The keys of a table of the models.toml that comes with the service, also those in comments."""
    text = (ROOT / "models.toml").read_text()
    if table_name == "[server]":
        section = text.partition("[server]\n")[2].partition("\n\n")[0]
    else:
        section = re.split(r"\n#\n", text.partition(f'# name = "{table_name}"\n')[2])[0]
    assert section, table_name
    return tomllib.loads(re.sub(r"(?m)^# (?=\w+ = )", "", section))


@pytest.mark.parametrize(
    ("table_name", "heading", "examples"),
    [
        ("[server]", "## [server]", {"threads", "discover", "cors_origins"}),
        ("mine", "## [[models]]", {"checkpoint", "config", "speaker", "lang", "replace"}),
    ],
)
def test_models_toml_shows_the_documented_defaults(table_name: str, heading: str, examples: set[str]) -> None:
    documented = {quoted(row["key"])[0]: row["default"] for row in table(MODELS, heading)}
    shown = shown_in_models_toml(table_name)
    assert set(documented) - set(shown) <= {"name", "load"}
    for key, value in shown.items():
        if key not in examples:
            assert quoted(documented[key]) == [json.dumps(value)], key


def test_the_variables_have_the_defaults_of_run_sh() -> None:
    script = (ROOT / "run.sh").read_text()
    set_there = dict(re.findall(r'^: "\$\{(\w+):=(.*)\}"$', script, re.MULTILINE))
    shown = {name: row["default"] for row in table(MODELS, "## Environment") for name in quoted(row["variable"])}
    assert len(set_there) > 5
    assert set(set_there) <= set(shown)
    literal = {name: quoted(default)[0] for name, default in shown.items() if quoted(default)}
    fixed = {name: value for name, value in set_there.items() if "$" not in value}
    del fixed["MALLOC_CONF"]  # four settings, which the table leaves to run.sh
    assert literal == fixed


# All pages


def test_the_limits_in_the_readme_are_those_of_the_server() -> None:
    limits_named = " ".join(README.partition("\n## Limits\n")[2].partition("\n## ")[0].split())
    seconds = server.Settings(Path(), (), threads=1).max_audio_s
    for limit in (
        f"of `max_audio_s` ({seconds * 22050 * 2 / 1e6:.0f} MB each at 22 050 Hz)",
        f"falls {recordings.PATIENCE_S:g} seconds behind",
        f"headers must arrive within {connections.HEAD_TIMEOUT_S:g} seconds",
        f"body within {connections.BODY_TIMEOUT_S:g}.",
        f"At most {connections.MOST_CONNECTIONS} connections",
        f"lines end at about {int(setting('MAX_HEAD_BYTES')) // 1024 - 16} KiB",
    ):
        assert limit in limits_named


def test_the_readme_is_short() -> None:
    lines = README.splitlines()
    assert len(lines) <= 160
    assert [line for line in lines if len(line) > 120] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_to_a_heading_in_it(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    relative = [target for target in targets if not re.match(r"[a-z]+:", target)]
    for target in relative:
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert path.is_relative_to(ROOT), target
        assert not anchor or anchor in anchors(path.read_text()), target


def anchors(document: str) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_leads_to_every_page_of_docs() -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", README)
    assert {str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")} <= set(targets)
