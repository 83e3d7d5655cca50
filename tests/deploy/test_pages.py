"""The pages of deploy/."""

import re
from pathlib import Path

from tests.conftest import ROOT
from tests.deploy.conftest import DEPLOY

PAGES = sorted(DEPLOY.glob("*.md"))


def linked() -> set[Path]:
    """The files that the pages and the README link to."""
    return {
        (page.parent / target).resolve()
        for page in (*PAGES, ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    }


def test_every_page_is_linked() -> None:
    assert [page.name for page in PAGES if page not in linked()] == []


def test_every_link_leads_somewhere() -> None:
    assert [path for path in linked() if not path.exists()] == []
