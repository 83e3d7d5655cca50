"""The digest of all but the request and the voice that a recording's bytes depend on."""

from pathlib import Path

import pytest

from vits import identity

current = identity.program_identity.__wrapped__


def test_the_same_program_is_the_same() -> None:
    assert current() == current() == identity.program_identity()


@pytest.mark.parametrize("name", ["torch.backends.cpu.get_cpu_capability", "vits.identity.versions"])
def test_another_cpu_or_library_is_another(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    before = current()
    monkeypatch.setattr(name, lambda: ["another"])
    assert current() != before


def test_another_source_is_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = current()
    (tmp_path / "identity.py").write_text(Path(identity.__file__).read_text() + "# changed")
    monkeypatch.setattr(identity, "__file__", str(tmp_path / "identity.py"))
    assert current() != before


def test_facts_files_and_program_all_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "G.pth"
    file.write_text("weights")
    first = identity.identity("facts", [file])
    assert identity.identity("facts", [file]) == first
    assert identity.identity("other facts", [file]) != first
    file.write_text("other weights")
    assert identity.identity("facts", [file]) != first
    file.write_text("weights")
    monkeypatch.setattr(identity, "program_identity", lambda: b"another")
    assert identity.identity("facts", [file]) != first
