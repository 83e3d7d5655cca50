"""service/pages.py by itself, in an application that has nothing else."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from service import pages

PATHS = (*pages.DOCUMENTS, *(f"/web/{name}" for name in pages.ASSETS))


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(Starlette(routes=pages.routes())) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/openapi.json", "application/json"),
        ("/web/page.css", "text/css; charset=utf-8"),
        ("/web/page.js", "text/javascript; charset=utf-8"),
    ],
)
def test_every_file_has_its_own_media_type(client: TestClient, path: str, media_type: str) -> None:
    assert client.get(path).headers["content-type"] == media_type


@pytest.mark.parametrize("path", PATHS)
def test_browsers_ask_each_time_whether_a_file_has_changed(client: TestClient, path: str) -> None:
    assert client.get(path).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_pages_allow_no_inline_style_or_script_and_nothing_from_elsewhere(client: TestClient, path: str) -> None:
    rules = [rule.split(" ") for rule in client.get(path).headers["content-security-policy"].split("; ")]
    assert {name: set(sources) for name, *sources in rules} == {
        "default-src": {"'none'"},
        "script-src": {"'self'"},
        "style-src": {"'self'"},
        "connect-src": {"'self'"},
        "media-src": {"'self'", "blob:"},
        "img-src": {"data:", "'self'"},
        "base-uri": {"'none'"},
        "form-action": {"'none'"},
        "frame-ancestors": {"'none'"},
    }


@pytest.mark.parametrize(
    ("asked", "status"),
    [("{}", 304), ("W/{}", 304), ('"other", {}', 304), ("*", 304), ('"other"', 200), ("", 200)],
)
def test_a_client_that_has_a_file_is_told_so(client: TestClient, asked: str, status: int) -> None:
    tag = client.get("/web/page.js").headers["etag"]
    answer = client.get("/web/page.js", headers={"If-None-Match": asked.format(tag)})
    assert answer.status_code == status
    assert answer.headers["etag"] == tag
    assert bool(answer.content) == (status == 200)


def test_a_range_of_a_page_is_not_needed_and_gets_all_of_it(client: TestClient) -> None:
    answer = client.get("/", headers={"Range": "lines=1-2"})
    assert (answer.status_code, answer.text[:9]) == (200, "<!doctype")


def test_the_tag_tells_files_apart_that_are_equal_in_size_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "WEB", tmp_path)
    tags = set()
    for content in ("a { color: red }", "a { color: tan }"):
        (tmp_path / "page.css").write_text(content)
        tags.add(pages.read_file("page.css").headers["ETag"])
    assert len(tags) == 2


def test_the_files_are_read_once_so_the_disk_may_go_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "web"
    shutil.copytree(pages.WEB, folder)
    monkeypatch.setattr(pages, "WEB", folder)
    client = TestClient(Starlette(routes=pages.routes()))
    shutil.rmtree(folder)
    assert [client.get(path).status_code for path in PATHS] == [200] * len(PATHS)


def test_a_missing_file_ends_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "WEB", tmp_path)
    with pytest.raises(FileNotFoundError, match="page.html"):
        pages.routes()


def test_a_path_in_front_that_the_server_knows_of_makes_no_difference() -> None:
    client = TestClient(Starlette(routes=pages.routes()), root_path="/tts")
    assert [client.get(f"/tts{path}").status_code for path in PATHS] == [200] * len(PATHS)


def test_the_html_holds_no_inline_style_script_or_handler_and_only_relative_links(client: TestClient) -> None:
    for path in ("/", "/docs"):
        html = client.get(path).text
        assert not re.search(r"<style|<script(?![^>]* src=)|\s(?:style|on\w+)\s*=", html)
        links = re.findall(r'\b(?:href|src)="([^"]*)"', html)
        assert len(links) > 3
        assert [link for link in links if not re.match(r"(web/|speak\?|docs$|openapi\.json$|data:)", link)] == []
