"""The one HTTP client, against a socket that sends whatever it likes."""

from __future__ import annotations

import json
import socket

import pytest
from odd_replies import BAD_JSON, WRONG_HTTP, http, raw_server

from resources.http_client import (
    LONGEST_WAIT_S,
    MAX_DEPTH,
    MAX_REPLY_BYTES,
    HttpError,
    NoReplyInTimeError,
    OddReplyError,
    ask,
    excerpt,
    require_address,
    strict_json,
)


@pytest.mark.parametrize("name", WRONG_HTTP)
def test_a_reply_that_is_none_ends_in_a_sentence_and_in_time(name: str) -> None:
    with raw_server(lambda asked: WRONG_HTTP[name]()) as url, pytest.raises(HttpError) as caught:
        ask("GET", url, seconds=0.6)
    assert excerpt(str(caught.value)) == str(caught.value)


@pytest.mark.parametrize("name", [name for name in WRONG_HTTP if name.startswith("dripping")])
def test_time_is_that_of_the_whole_reply(name: str) -> None:
    with (
        raw_server(lambda asked: WRONG_HTTP[name]()) as url,
        pytest.raises(NoReplyInTimeError, match="timed out"),
    ):
        ask("GET", url, seconds=0.3)


def test_a_reply_is_read_to_its_bound_and_no_further() -> None:
    with raw_server(lambda asked: http(b" " * MAX_REPLY_BYTES)) as url:
        assert len(ask("GET", url, seconds=30).content) == MAX_REPLY_BYTES
    with (
        raw_server(lambda asked: http(b" " * (MAX_REPLY_BYTES + 1))) as url,
        pytest.raises(OddReplyError, match="longer than 16 MiB"),
    ):
        ask("GET", url, seconds=30)


@pytest.mark.parametrize("name", BAD_JSON)
def test_what_is_no_strict_json_is_refused(name: str) -> None:
    with pytest.raises(OddReplyError, match=r"no JSON|half a letter|nested too deeply"):
        strict_json(BAD_JSON[name])


def test_strict_json_is_json() -> None:
    value = {"a": [1, -2.5e3, None, True, "ü\n\U0001f600", {}], "b": {"a": []}}
    assert strict_json(json.dumps(value).encode()) == value
    assert strict_json(json.dumps(value, ensure_ascii=False).encode()) == value


def test_what_is_no_strict_json_is_refused_in_any_place() -> None:
    """Also where a reply is otherwise one that needs no closer look."""
    for odd in (b'"\\uD800"', b"1e999", b"-1.5E+400", b"9" * 41, b"-Infinity", b'{"b": 1, "b": 1}'):
        with pytest.raises(OddReplyError):
            strict_json(b'{"a": [1.5, {"b": ' + odd + b'}], "c": "plain"}')
    for fine in (b'"2e345 \\\\ud800"', b"1e-999", b"1e99", b"9" * 40, b"0." + b"3" * 50, b'"\\ud83d\\ude00"'):
        content = b'{"a": [1.5, {"b": ' + fine + b"}]}"
        assert strict_json(content) == json.loads(content)


@pytest.mark.parametrize("opened", [b"[", b'{"a":'])
def test_lists_in_lists_are_read_to_their_bound(opened: bytes) -> None:
    closed = b"]" if opened == b"[" else b"}"
    strict_json(opened * MAX_DEPTH + b"1" + closed * MAX_DEPTH)
    with pytest.raises(OddReplyError, match="nested too deeply"):
        strict_json(opened * (MAX_DEPTH + 1) + b"1" + closed * (MAX_DEPTH + 1))


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
def test_no_redirect_is_followed(status: str) -> None:
    """A server to be sent to listens, and nobody connects."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        to = f"Location: http://127.0.0.1:{other.getsockname()[1]}/"
        with raw_server(lambda asked: http(b"", to, status=status)) as url:
            reply = ask("POST", url, seconds=5, headers={"Token": "secret"}, body={"image": "pixels"})
        assert reply.elsewhere is not None
        assert "not followed" in reply.elsewhere
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()


def test_cookies_are_not_kept_and_nothing_compressed_is_asked_for() -> None:
    heard: list[bytes] = []

    def reply(asked: bytes) -> list[bytes]:
        heard.append(asked.lower())
        return http(b"{}", "Set-Cookie: a=b")

    with raw_server(reply) as url:
        ask("GET", url, seconds=5)
        ask("GET", url, seconds=5)
    assert all(b"accept-encoding: identity" in asked and b"cookie" not in asked for asked in heard)


WAITS = {"1.5": 1.5, "9" * 9: LONGEST_WAIT_S, "-1": 0, "\xb2": 0, "1e9": 0, "9" * 5000: 0, "nan": 0}


@pytest.mark.parametrize(("told", "seconds"), WAITS.items(), ids=map(ascii, range(len(WAITS))))
def test_a_server_has_us_wait_within_reason(told: str, seconds: float) -> None:
    with raw_server(lambda asked: http(b"", f"Retry-After: {told}", status="429 Busy")) as url:
        assert ask("GET", url, seconds=5).retry_after_s == seconds


@pytest.mark.parametrize(
    "url",
    [
        *("http://10.0.0.2/v1", "http://gpu:8000/v1", "http://localhost.evil.com/v1", "http://127.0.0.1.nip.io/"),
        *("http://0x7f.1/", "http://[::ffff:10.0.0.2]/", "http://0.0.0.0/"),
        *("file:///etc/passwd", "ftp://h/", "unix:/run/a", "gopher://h/", "//h/v1", "h:8000", "", "https://", "https:///v1"),
        *("https://me:secret@h/", "https://h/?a=b", "https://h/#a", "https://h\\@e/", "https://h /", "https://h\n/"),
        *("https://h:99999/", "https://ｈ/", "HTTPS://h/", "http://localhost@h/", "http://localhost#@h/"),
    ],
)  # fmt: skip
def test_an_address_that_is_not_safe_to_send_to_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011, the sentence differs
        require_address(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "http://localhost/v1/", "http://[::1]:1", "https://h.example/v1"]
)
def test_this_machine_and_https_are_safe(url: str) -> None:
    assert require_address(url) == url.rstrip("/")


def test_plain_http_to_others_is_by_choice() -> None:
    assert require_address("http://gpu:8000/v1", insecure=True) == "http://gpu:8000/v1"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "nonsense", "http://127.0.0.1:9"])
def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with raw_server(lambda asked: http(b"{}")) as url:
        assert ask("GET", url, seconds=5).json() == {}
    with pytest.raises(HttpError):
        ask("GET", "https://h.invalid/", seconds=2)
