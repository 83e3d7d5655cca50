"""What the environment and the logs are given at a start."""

import logging

import pytest
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from service import environment


def test_the_access_log_holds_no_query() -> None:
    record = logging.LogRecord(
        "uvicorn.access",
        logging.INFO,
        "",
        0,
        '%s - "%s %s HTTP/%s" %d',
        ("127.0.0.1:1", "GET", "/speak?text=secret", "1.1", 200),
        None,
    )
    assert environment.NoSecrets().filter(record)
    assert record.getMessage() == '127.0.0.1:1 - "GET /speak HTTP/1.1" 200'


def test_a_start_without_run_sh_is_told_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(environment, "allocator", lambda: "glibc")
    for name in environment.CACHE_CAPACITIES:
        monkeypatch.delenv(name, raising=False)
    environment.set_cache_capacities()
    starts = [record.getMessage().split(" is not ")[0] for record in caplog.records]
    assert starts == [*environment.CACHE_CAPACITIES, "jemalloc"]
    caplog.clear()
    monkeypatch.setattr(environment, "allocator", lambda: "jemalloc")
    for name, capacity in environment.CACHE_CAPACITIES.items():
        monkeypatch.setenv(name, capacity)
    environment.set_cache_capacities()
    assert not caplog.records


def test_a_trace_of_a_request_shows_neither_text_nor_key() -> None:
    scope = {"type": "http", "path": "/speak", "query_string": b"text=secret", "headers": [(b"authorization", b"x")]}
    record = logging.LogRecord("uvicorn.asgi", 5, "", 0, "%s [%d] Started scope=%s", ("127.0.0.1:1", 1, scope), None)
    assert environment.NoSecrets().filter(record)
    assert record.getMessage() == "127.0.0.1:1 [1] Started scope={'type': 'http', 'path': '/speak'}"


def test_what_a_parser_says_of_a_clients_bytes_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    environment.keep_secrets_out_of_logs()
    parser = MultipartParser(b"boundary")
    with pytest.raises(MultipartParseError):
        parser.write(b"secret")
    assert not caplog.records
