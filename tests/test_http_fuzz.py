"""Mutated requests over raw sockets: whatever is sent, the answer is HTTP, no 500, and nothing of it is logged.

The requests are the same in every run. FUZZ_REQUESTS sets how many there are, FUZZ_SEED chooses others.
"""

import json
import os
import random
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from urllib.parse import quote

import h11
import pytest

from deploy.defaults import setting
from service.errors import STATUS_OF
from tests.conftest import RunningServer, running_servers, write_models
from tests.described import DOCUMENT

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "1200"))
SEED = os.environ.get("FUZZ_SEED", "0")
TIMEOUT_S = 60
MARKER = "quibblewick"
"""What every request says, and no log may repeat."""
STATUSES = {int(status) for path in DOCUMENT["paths"].values() for of in path.values() for status in of["responses"]}
ALLOWED = STATUSES - {500} | {405, 408}
"""Every documented status but that of internal errors; a wrong method is no operation of the document, and a request
that does not come to its end is none of the application's."""
READ_AT_ONCE = 60_000
"""What is longer may be refused before all is sent, and a reset can then overtake the answer."""
CUT = " after its first bytes: Refusal"
LOG_LINE = re.compile(r"(INFO|WARNING): |run\.sh: ")

Pick = random.Random


# Requests


@dataclass
class Sent:
    """A request in its parts, so that each can be mutated."""

    method: bytes = b"GET"
    path: bytes = b"/speak"
    query: bytes = b""
    version: bytes = b"HTTP/1.1"
    headers: list[bytes] = field(default_factory=list)
    body: bytes = b""

    def raw(self) -> bytes:
        """As it goes over the line."""
        target = self.path + (b"?" + self.query if self.query else b"")
        lines = (b" ".join((self.method, target, self.version)), *self.headers, b"", self.body)
        return b"\r\n".join(lines)


def json_head(body: bytes) -> list[bytes]:
    return [b"Host: x", b"Content-Type: application/json", b"Content-Length: %d" % len(body)]


def urlencoded(fields: dict[str, str]) -> Sent:
    """A form as browsers send it."""
    body = "&".join(f"{name}={quote(value)}" for name, value in fields.items()).encode()
    headers = [b"Host: x", b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: %d" % len(body)]
    return Sent(b"POST", b"/voice/vits", headers=headers, body=body)


def multipart(fields: dict[str, str]) -> Sent:
    """A form as Python's and JavaScript's clients send it."""
    parts = [f'--edge\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()]
    body = ("".join(parts) + "--edge--\r\n").encode()
    kind = b"Content-Type: multipart/form-data; boundary=edge"
    return Sent(b"POST", b"/voice/vits", headers=[b"Host: x", kind, b"Content-Length: %d" % len(body)], body=body)


def valid(pick: Pick) -> Sent:
    """A request that a client would send."""
    text = pick.choice(("Hello", "今天", "こんにちは", "12 km", "a")) + " " + MARKER
    parameters = {"text": text, "speaker": pick.choice(("solo", "trio"))}
    if pick.random() < 0.5:
        more = {"seed": "7", "speed": "1.5", "noise_scale": "0", "lang": "auto", "format": "flac", "stream": "true"}
        name = pick.choice(list(more))
        parameters[name] = more[name]
    match pick.randrange(11):
        case 0:
            return Sent(path=pick.choice(OTHER_PATHS), query=b"note=" + MARKER.encode(), headers=[b"Host: x"])
        case 8:
            query = f"text={quote(text)}&id={pick.randrange(4)}&length=1.1&streaming={pick.choice(('true', 'false'))}"
            return Sent(path=pick.choice((b"/voice", b"/voice/vits/")), query=query.encode(), headers=[b"Host: x"])
        case 9:
            fields = {"text": text, "id": pick.choice("0123"), "format": "flac", "lang": "auto"}
            return pick.choice((urlencoded, multipart))(fields)
        case 10:
            path = pick.choice((b"/legado.svg", b"/legado.json", b"/voice/check"))
            return Sent(path=path, query=b"speaker=solo&key=" + MARKER.encode(), headers=[b"Host: x"])
        case 1:
            spoken = {"model": "tts-1", "voice": "solo", "input": text, "response_format": "wav"}
            body = json.dumps(spoken).encode()
            return Sent(b"POST", b"/v1/audio/speech", headers=json_head(body), body=body)
        case 2:
            body = json.dumps({"text": text, "speaker": "solo"}).encode()
            return Sent(b"POST", headers=json_head(body), body=body)
        case _:
            query = "&".join(f"{name}={quote(value)}" for name, value in parameters.items())
            method = pick.choice((b"GET", b"GET", b"HEAD"))
            return Sent(method, query=query.encode(), headers=[b"Host: x", b"X-Note: " + MARKER.encode()])


OTHER_PATHS = (b"/", b"/health", b"/speakers", b"/metrics", b"/docs", b"/openapi.json", b"/web/page.css", b"/v1/models")
METHODS = (b"POST", b"PUT", b"OPTIONS", b"TRACE", b"CONNECT", b"get", b"", b"G(T", b"GE T", b"\0", b"PRI", b"A" * 300)
PATHS = (
    *(
        b"",
        b"*",
        b"speak",
        b"//speak",
        b"/speak/",
        b"/speak/..",
        b"/./speak",
        b"/speak;a=b",
        b"/SPEAK",
        b"/v1/",
        b"/web/",
    ),
    *(b"http://x/speak", b"x:80", b"/%", b"/%00", b"/%ff", b"/%0d%0aX: y", b"/\xff", b"/ speak", b"/" + b"a/" * 2000),
    *(b"/web/..%2fpage.html", b"/v1/audio/speech", b"/v1/audio/%73peech"),
)
VERSIONS = (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"http/1.1", b"HTTP/1.1 ", b"HTTP/11", b"", b"SIP/2.0")
NUMBERS = (
    *("٣", "１.５", "²", "Ⅳ", "1_0", "0x1", " 1", "1 ", "+1", "--1", "1e309", "-1e-400", "nan", "inf", "-inf", "", "."),
    *("1e", "01", "1,5", "9" * 20, "9" * 5000, "0." + "1" * 400, "true", "null", "4294967296", "-0", "1\n"),
)
ESCAPES = (
    *(b"%", b"%z1", b"%1", b"%u4F60", b"%ff", b"%C3", b"%ED%A0%80", b"%ED%B0%80", b"%00", b"%F5%80%80%80", b"%C0%AE"),
    *(b"%F4%90%80%80", b"%EF%BF%BF", b"%E2%80%AE", b"%0d%0a", b"%25%30", b"+", b"&", b"&&", b"=", b";", b"#", b"\xe4"),
)
TEXTS = (
    *(
        "",
        " ",
        "\u3000",
        "\ufeff",
        "\u0301" * 300,
        "ı.e. vſ. İ.E.T.T.",
        "人a" * 200,
        "ーｗ" * 100,
        "[ZH][JA]",
        "🙂" * 50,
    ),
    *("1" * 60, "." * 500, "\u202e\u200d", "a" * 1999, "a" * 2001, "\U0010ffff", "<b>&amp;", "\r\n\r\nGET / HTTP/1.1"),
)
NAMES = (
    *("text", "speaker", "lang", "seed", "speed", "length_scale", "noise_scale", "noise_scale_w", "format", "stream"),
)
HEADERS = (
    *(b"Host: y", b"Host:", b"Host: a b", b"host : x", b": x", b"no colon", b"X-A: \0", b"X-A: \xff\xfe", b" folded"),
    *(
        b"X-A: " + b"b" * 20_000,
        b"X-\xe4: a",
        b"X A: b",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Upgrade: h2c",
    ),
    *(
        b"Connection: close",
        b"Connection: keep-alive, \xff",
        b"Expect: 100-continue",
        b"Expect: 200-ok",
        b"Cookie: a=b",
    ),
    *(b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 0x5", b"Content-Length: 99999999999999999999"),
    *(b"Content-Length: \xd9\xa3", b"Content-Length: 1, 1", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip"),
    *(b"Transfer-Encoding: chunked, chunked", b"Authorization: Bearer", b"Authorization: \xff", b"Origin: null"),
    *(
        b"Content-Type: text/plain",
        b"Content-Type: application/json; charset=utf-16",
        b"Content-Type:",
        b"Range: bytes=",
    ),
    *(b"Range: bytes=0-0,2-3", b"Range: bytes=-", b"Range: bytes=-0", b"Range: bytes=5-1", b"Range: lines=1-2"),
    *(b"Range: bytes=%s-" % (b"9" * 99), b"Range: bytes=\xb2-\xb3", b"Range: Bytes=1-2", b"Range: bytes=99999999-"),
    *(b'If-None-Match: "', b"If-None-Match: *", b'If-None-Match: W/"a", "b', b'If-Range: "a"', b"If-Range: \xff"),
    *(
        b"Accept: audio/mpeg;q=2",
        b"Accept: ;;,,q=",
        b"Accept: */*;q=\xb2",
        b"Accept: audio/flac;q=0.5, audio/ogg;q=1e9",
    ),
    *(b"Access-Control-Request-Method: GET", b"X-Forwarded-For: \xff", b"X-A: %s" % (b"\t" * 50), b"TE: trailers"),
)
VALUES: tuple[object, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**400, 1e308, "", " ", "٣", "1", [], {}, [[]], {"text": "a"}, {"id": "solo"}),
    *(
        "\ud800",
        "a\udc00b",
        "\0",
        "x" * 3000,
        {"": None},
        "tts-1",
        "idle",
        "solo/solo",
        "nobody",
        "sse",
        "pcm",
        "ko",
        "sa",
    ),
    *({"Hello": "hi"}, {"Hello": {"spoken": "[[a]]", "case": True}}, {"o": 240 * "a"}, {"e": []}, {"\0": "\ud800"}),
    *({"Hello": "HH AH0 L OW1"}, {"H": "x" * 241}, dict.fromkeys(map(str, range(300)), "a"), ["zh", ["ja"]], "VITS"),
)
OTHER_NAMES = ("response_format", "stream_format", "replace", "streaming", "length", "model_type", "")
SPOKEN: tuple[tuple[bytes, dict[str, object]], ...] = (
    (b"/speak", {"text": "Hello " + MARKER, "speaker": "solo"}),
    (b"/v1/audio/speech", {"model": "tts-1", "input": "Hello " + MARKER, "voice": "solo"}),
    (b"/voice/vits", {"text": "Hello " + MARKER, "id": 0}),
    (b"/voice/check", {"model": "vits", "id": 0}),
)
"""What a POST takes as JSON, by its path."""
DOCUMENTS = (
    *(
        b"",
        b"{",
        b"null",
        b"[]",
        b'"a"',
        b"1",
        b"{}",
        b"{}{}",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"{'text': 1}",
        b'{"text": NaN}',
    ),
    *(b'{"text": "a", "seed": -Infinity}', b'{"text": "a", "text": "b"}', b'{"text": "\\ud800"}', b'{"text": "\\u12"}'),
    *(b"[" * 20_000, b'{"a":' * 5000, b'{"seed": %s}' % (b"1" * 6000), b'{"text": "a", "speed": 1e999}', b'{"a": 1,}'),
    *(
        '{"text": "a"}'.encode("utf-16"),
        '{"text": "a"}'.encode("utf-32-le"),
        b'{"text": "\xed\xa0\x80"}',
        b" " * 30_000,
    ),
)


def mutate_line(pick: Pick, sent: Sent) -> Sent:
    match pick.randrange(4):
        case 0:
            return replace(sent, method=pick.choice(METHODS))
        case 1:
            return replace(sent, path=pick.choice(PATHS))
        case 2:
            return replace(sent, version=pick.choice(VERSIONS))
        case _:
            path = sent.path + bytes((pick.choice((0, 9, 11, 32, 34, 37, 47, 92, 127, 128, 255)),))
            return replace(sent, path=path)


def mutate_query(pick: Pick, sent: Sent) -> Sent:
    pairs = sent.query.split(b"&")
    at = pick.randrange(len(pairs))
    match pick.randrange(6):
        case 0:
            pairs.insert(at, pick.choice(pairs))
        case 1:
            value = quote(pick.choice(NUMBERS), safe="").encode()
            pairs.append(pick.choice(NAMES).encode() + b"=" + value)
        case 2:
            cut = pick.randrange(len(pairs[at]) + 1)
            pairs[at] = pairs[at][:cut] + pick.choice(ESCAPES) + pairs[at][cut:]
        case 3:
            value = quote(pick.choice(TEXTS)).encode()
            pairs = [pair for pair in pairs if not pair.startswith(b"text=")] + [b"text=" + value + MARKER.encode()]
        case 4:
            pairs.append(quote(pick.choice(("key", "Text", "voice", "téxt", "text[]", "", "a" * 500))).encode() + b"=1")
        case _:
            name, _, value = pairs[at].partition(b"=")
            pairs[at] = pick.choice((name, b"=" + value, value + b"=" + name, name + b"==" + value))
    return replace(sent, query=b"&".join(pairs))


def mutate_headers(pick: Pick, sent: Sent) -> Sent:
    headers = list(sent.headers)
    match pick.randrange(5):
        case 0:
            headers.pop(pick.randrange(len(headers)))
        case 1:
            headers += [b"X-%d: %s" % (number, MARKER.encode()) for number in range(pick.choice((30, 300, 3000)))]
        case 2:
            headers.append(pick.choice(headers))
        case _:
            for _ in range(pick.randint(1, 3)):
                headers.insert(pick.randrange(len(headers) + 1), pick.choice(HEADERS))
    return replace(sent, headers=headers)


def mutate_body(pick: Pick, sent: Sent) -> Sent:
    path, spoken = pick.choice(SPOKEN)
    spoken = dict(spoken)
    names = [
        *spoken,
        *NAMES[2:],
        "response_format",
        "stream_format",
        "replace",
        "streaming",
        "length",
        "model_type",
        "",
    ]
    for _ in range(pick.randint(0, 3)):
        spoken[pick.choice(names)] = pick.choice(VALUES)
    body = json.dumps(spoken, ensure_ascii=True).encode()
    if pick.random() < 0.3:
        body = pick.choice(DOCUMENTS)
    headers = json_head(body)
    match pick.randrange(4):
        case 0:
            headers[-1] = b"Content-Length: %d" % max(0, len(body) + pick.choice((-1, 1, -5, 100, 10**9)))
        case 1:
            headers[-1] = b"Transfer-Encoding: " + pick.choice((b"chunked", b"Chunked", b"gzip, chunked", b"identity"))
            body = chunked(pick, body)
        case 2:
            headers.insert(pick.randrange(len(headers)), pick.choice(HEADERS))
        case _:
            pass
    return Sent(b"POST", path, headers=[*headers, b"X-Note: " + MARKER.encode()], body=body)


def chunked(pick: Pick, body: bytes) -> bytes:
    """The body in chunks, of which most are right."""
    cut = pick.randrange(len(body) + 1)
    parts = [part for part in (body[:cut], body[cut:]) if part]
    size = pick.choice(
        (b"%x", b"%X", b"0%x", b"%x;a=b", b"%x", b"%x", b"-%x", b"0x%x", b"%xg", b" %x", b"%x00000000000000000")
    )
    end = pick.choice(
        (b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"", b"0\r\n", b"00\r\n\r\n", b"0\r\nbad\r\n\r\n")
    )
    return b"".join(size % len(part) + b"\r\n" + part + b"\r\n" for part in parts) + end


def mutate_bytes(pick: Pick, sent: Sent) -> Sent | bytes:
    """The raw bytes with some of them changed, but not those of the path, which may be logged."""
    raw = bytearray(sent.raw())
    start = len(sent.method + sent.path) + 2
    for _ in range(pick.randint(1, 4)):
        at = pick.randrange(start, len(raw))
        match pick.randrange(4):
            case 0:
                raw[at] = pick.randrange(256)
            case 1:
                raw[at:at] = bytes(pick.randrange(256) for _ in range(pick.randint(1, 8)))
            case 2:
                del raw[at : at + pick.randint(1, 8)]
                raw += b"\r\n" * 4
            case _:
                other = pick.randrange(start, len(raw))
                raw[at:at] = raw[other : other + pick.randint(1, 40)]
    return bytes(raw)


def pipeline(pick: Pick, sent: Sent) -> bytes:
    """Several requests in one, some of them mutated."""
    mutations = (mutate_query, mutate_headers, mutate_body, mutate_line)
    parts = [sent] + [valid(pick) for _ in range(pick.randint(1, 3))]
    return b"".join(pick.choice(mutations)(pick, part).raw() if pick.random() < 0.3 else part.raw() for part in parts)


def truncate(pick: Pick, sent: Sent) -> bytes:
    """The beginning of a request."""
    raw = sent.raw()
    return raw[: pick.randrange(len(raw))]


MUTATIONS: dict[str, Callable[[Pick, Sent], Sent | bytes]] = {
    "line": mutate_line,
    "query": mutate_query,
    "headers": mutate_headers,
    "body": mutate_body,
    "bytes": mutate_bytes,
    "pipeline": pipeline,
    "truncated": truncate,
}


def mutated(kind: str, number: int) -> bytes:
    """The request of that number, the same in every run."""
    pick = random.Random(f"{SEED} {kind} {number}")
    sent = valid(pick)
    if kind == "query" and not sent.query:
        sent = replace(sent, query=b"text=Hello+" + MARKER.encode())
    changed = MUTATIONS[kind](pick, sent)
    return changed if isinstance(changed, bytes) else changed.raw()


# Answers


def requests_in(raw: bytes) -> tuple[list[h11.Request], str]:
    """The requests that are complete in it, and what follows them: "nothing", "part" or "no HTTP"."""
    requests: list[h11.Request] = []
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=int(setting("MAX_HEAD_BYTES")))
    parser.receive_data(raw)
    head = None
    try:
        while True:
            event = parser.next_event()
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                requests.append(head)
                rest = parser.trailing_data[0]
                if not rest:
                    return requests, "nothing"
                parser = h11.Connection(h11.SERVER, max_incomplete_event_size=int(setting("MAX_HEAD_BYTES")))
                parser.receive_data(rest)
            elif event is h11.NEED_DATA or event is h11.PAUSED:
                return requests, "part"
            elif isinstance(event, h11.ConnectionClosed):  # a request that was cut down to nothing
                return requests, "nothing"
    except h11.RemoteProtocolError:
        return requests, "no HTTP"


def everything(port: int, raw: bytes, *, half_close: bool, leaves: bool) -> bytes:
    """All that the server says to a client that sends this and no more, or that leaves at once."""
    parts = []
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as client, suppress(ConnectionError):
        client.sendall(raw)
        if leaves:
            return b""
        if half_close:
            client.shutdown(socket.SHUT_WR)
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts)


def answers_in(said: bytes, methods: list[bytes]) -> Iterator[tuple[int, dict[str, str], bytes]]:
    """The final answers in what the server said, of which each must be whole; an h11 error where it is no HTTP."""
    for method in (*methods, *[b"GET"] * 10):
        if not said:
            return
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=1_000_000)
        method = method if method in (b"HEAD", b"GET") else b"POST"
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(said)
        parser.receive_data(b"")
        status, headers, body = 0, {}, b""
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += event.data
            elif not isinstance(event, h11.InformationalResponse):
                assert not parser.trailing_data[0]
                return  # only probes came: the connection ended, and no answer has begun
        yield status, headers, body
        said = parser.trailing_data[0]


def check_error(status: int, headers: dict[str, str], body: bytes) -> None:
    """Fail where an error is neither in the service's shape nor one of the HTTP server's own."""
    if headers.get("content-type") != "application/json":
        assert status in (400, 408)
        assert body in (b"", b"Invalid HTTP request received.")
    elif body:
        told = json.loads(body)
        if told.get("status") == "error":  # vits-simple-api's shape, which has no codes
            error = told
            assert status in STATUS_OF.values()
        else:
            error = told["error"]
            assert STATUS_OF[error["code"]] == status
        assert error["message"].isprintable()


def check(server: RunningServer, raw: bytes, *, leaves: bool) -> None:
    """Send it, and fail where the answer is not as it must be."""
    cut_before = server.log.count(CUT)
    requests, rest = requests_in(raw)
    # One of HTTP/1.0 that has sent its last byte cannot be told from one that is gone, and is answered with an end.
    half_close = all(request.http_version >= b"1.1" for request in requests)
    said = everything(server.port, raw, half_close=half_close, leaves=leaves)
    try:
        answers = list(answers_in(said, [request.method for request in requests]))
    except h11.RemoteProtocolError:
        # A stream that grew longer than max_audio_s ends before its last chunk, and the log says so.
        assert server.log.count(CUT) > cut_before
        return
    for status, headers, body in answers:
        assert status in ALLOWED
        if status >= 400:
            check_error(status, headers, body)
    if not leaves and len(raw) < READ_AT_ONCE and (requests or rest == "no HTTP"):
        assert answers


# The test


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with the small voices, for all requests."""
    folder = tmp_path_factory.mktemp("fuzzed")
    with running_servers(folder, write_models(folder, "max_audio_s = 20")) as start:
        yield start()


@pytest.mark.parametrize("kind", MUTATIONS)
def test_no_request_breaks_it_or_shows_in_its_log(kind: str, fuzzed: RunningServer) -> None:
    for number in range(REQUESTS // len(MUTATIONS)):
        raw = mutated(kind, number)
        try:
            check(fuzzed, raw, leaves=number % 10 == 9)
        except Exception as error:
            raise AssertionError(f"{kind} {number} of seed {SEED}: {raw[:1000]!r}") from error
    assert fuzzed.process.poll() is None
    status, health = fuzzed.get_json("/health")
    assert (status, health["status"]) == (200, "ready")
    assert MARKER not in fuzzed.log.lower()
    assert [line for line in fuzzed.log.splitlines() if not LOG_LINE.match(line)] == []
