"""Which module may import which: server.py uses service/ and vits/, and neither of those looks upwards or aside."""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("service", "vits")
"""What the server is made of."""
TOOLS = ("bench", "deploy", "tests", "training")
"""What is never needed to run."""
MOST_LINES = 750
Imports = Mapping[str, frozenset[str]]
"""What each module imports: the dotted names of modules, and of what is taken from modules."""


def module_name(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imported(tree: ast.AST, *, of: str) -> Iterator[str]:
    """The dotted names that the import statements in a tree ask for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{of}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def without_functions(tree: ast.Module) -> ast.Module:
    """The statements that run when a module is imported, which those for type checkers do not."""

    class Remover(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
            return node.orelse if ast.unparse(node.test).endswith("TYPE_CHECKING") else self.generic_visit(node)

    kept: ast.Module = Remover().visit(tree)
    return kept


def read_imports(root: Path = ROOT, *, at_import_only: bool = False, folders: Sequence[str] = FOLDERS) -> Imports:
    """The imports of server.py and of all modules in these folders."""
    ours = (path for folder in folders for path in sorted((root / folder).rglob("*.py")) if ".venv" not in path.parts)
    paths = [root / "server.py", *ours]
    found = {}
    for path in paths:
        name, tree = module_name(path, root), ast.parse(path.read_text(encoding="utf-8"))
        found[name] = frozenset(imported(without_functions(tree) if at_import_only else tree, of=name))
    return found


def forbidden(imports: Imports, package: str, *others: str, but: str = "") -> list[str]:
    """The places where a package imports one of the others, each as "module imports name"."""
    return [
        f"{module} imports {name}"
        for module, names in sorted(imports.items())
        if within(module, package)
        for name in sorted(names)
        if any(within(name, other) for other in others) and not within(name, but)
    ]


def without(imports: Imports, module: str) -> Imports:
    """The imports of all modules but one."""
    return {name: names for name, names in imports.items() if name != module}


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def cycles(imports: Imports) -> list[frozenset[str]]:
    """The sets of two or more modules that import each other, directly or not."""
    edges = {module: {own(name, imports) for name in names} - {None, module} for module, names in imports.items()}
    reachable = {module: reached_from(module, edges) for module in edges}
    components = {frozenset({module, *(m for m in reachable[module] if module in reachable[m])}) for module in edges}
    return sorted((component for component in components if len(component) > 1), key=sorted)


def own(name: str, imports: Imports) -> str | None:
    """The project's module that an import runs: the name itself or, where that is a name in a module, the module."""
    return next((module for module in (name, name.rpartition(".")[0]) if module in imports), None)


def reached_from(module: str, edges: Mapping[str, Iterable[str | None]]) -> set[str]:
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        for target in edges[waiting.pop()]:
            if target is not None and target not in reached:
                reached.add(target)
                waiting.append(target)
    return reached


@pytest.fixture(scope="module")
def imports() -> Imports:
    return read_imports()


def test_the_server_uses_no_folder_that_has_no_rules_here(imports: Imports) -> None:
    packages = {name.partition(".")[0] for name in imports["server"]}
    of_the_project = {name for name in packages if (ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file()}
    assert "vits" in of_the_project
    assert of_the_project <= {*FOLDERS}


def test_the_library_knows_nothing_of_http(imports: Imports) -> None:
    assert not forbidden(imports, "vits", "starlette", "uvicorn", "asyncio", "service", "server")


def test_the_service_knows_nothing_of_voices(imports: Imports) -> None:
    assert not forbidden(imports, "service", "server", "torch")
    assert not forbidden(without(imports, "service.settings"), "service", "vits", but="vits.limits")


def test_the_settings_are_read_without_a_voice(imports: Imports) -> None:
    own_limits = {name for name in imports["service.settings"] if within(name, "vits")}
    assert {name.rpartition(".")[0] for name in own_limits} == {"vits.limits", "vits.tables"}


def test_the_text_side_needs_no_torch(imports: Imports) -> None:
    assert not forbidden(imports, "vits.text", "torch")


@pytest.mark.parametrize("module", ["vits", "vits.config", "vits.errors", "vits.limits", "vits.tables", "vits.text"])
def test_what_computes_nothing_imports_no_torch(module: str) -> None:
    at_import = read_imports(at_import_only=True)
    edges = {name: {own(target, at_import) for target in targets} for name, targets in at_import.items()}
    for needed in {module, *reached_from(module, edges)}:
        assert not [name for name in at_import[needed] if within(name, "torch")], needed


def test_no_module_imports_itself_in_a_circle() -> None:
    assert cycles(read_imports(at_import_only=True, folders=(*FOLDERS, *TOOLS))) == []


def test_what_runs_needs_no_tool(imports: Imports) -> None:
    of_tools = [name for names in imports.values() for name in names if any(within(name, tool) for tool in TOOLS)]
    assert of_tools == []


def test_the_plot_is_short() -> None:
    assert len((ROOT / "server.py").read_text("utf-8").splitlines()) <= MOST_LINES


# The checks themselves


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "vits").mkdir()
    (tmp_path / "service").mkdir()
    (tmp_path / "server.py").write_text("from service import audio\n")
    (tmp_path / "vits/__init__.py").write_text("")
    (tmp_path / "service/audio.py").write_text("from vits.limits import RANGES\n")
    return tmp_path


def test_a_circle_is_found_and_one_that_waits_for_a_call_is_none(project: Path) -> None:
    (project / "vits/one.py").write_text("from vits import two\n")
    (project / "vits/two.py").write_text("from vits.three import name\n")
    (project / "vits/three.py").write_text("def late() -> None:\n    import vits.one\n")
    assert cycles(read_imports(project, at_import_only=True)) == []
    (project / "vits/three.py").write_text("import vits.one\n")
    assert cycles(read_imports(project, at_import_only=True)) == [frozenset({"vits.one", "vits.two", "vits.three"})]


@pytest.mark.parametrize("statement", ["import torch.nn", "from torch import nn", "def late():\n    import torch"])
def test_a_forbidden_import_is_found(statement: str, project: Path) -> None:
    (project / "service/audio.py").write_text(statement)
    assert len(forbidden(read_imports(project), "service", "torch")) == 1


@pytest.mark.parametrize(("statement", "found"), [("from vits.limits import RANGES", 0), ("from vits import Voice", 1)])
def test_an_exception_holds_for_what_it_names_alone(statement: str, found: int, project: Path) -> None:
    (project / "service/audio.py").write_text(statement)
    assert len(forbidden(read_imports(project), "service", "vits", but="vits.limits")) == found
