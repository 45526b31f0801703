"""Every way in which a server or its client fails arrives as one of our errors, with its cause."""

from __future__ import annotations

import json
import re
import socket
import threading

import httpx
import ollama
import pytest
from pydantic import ValidationError

from actors.model import errors
from actors.model.errors import (
    ModelError,
    ModelMissing,
    ModelUnavailable,
    PromptTooLong,
    ReplyMalformed,
    RequestRefused,
)
from actors.model.ollama import OllamaClient
from actors.model.protocol import ChatMessage, Limits, ModelOptions, Reply
from actors.model.wire import refusal, translate
from tests.actors.model.loopback import (
    DONE,
    Answering,
    BadServer,
    dying,
    refusing,
    silent,
    stalling,
    streaming,
    text_line,
)

OPTIONS = ModelOptions("qwen3-coder:30b")
_STRING_ARGUMENTS = text_line("") | {
    "message": {"role": "assistant", "tool_calls": [{"function": {"name": "shell", "arguments": "{}"}}]}
}


def _ask(url: str, limits: Limits | None = None) -> Reply:
    model = OllamaClient(url, limits)
    prompt = [ChatMessage("user", "hello")]
    return model.chat(prompt, (), OPTIONS, on_text=lambda _text: None, cancelled=threading.Event())


def _failing(answer: Answering, limits: Limits | None = None) -> ModelError:
    with BadServer(answer) as server, pytest.raises(ModelError) as caught:
        _ask(server.url, limits)
    return caught.value


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (400, "'qwen3-coder:30b' does not support thinking", RequestRefused),
        (400, "the input length exceeds the context length", PromptTooLong),
        (400, "request (9000 tokens) exceeds the available context size (4096 tokens)", PromptTooLong),
        (401, "unauthorized", RequestRefused),
        (404, "model 'qwen3-coder:30b' not found", ModelMissing),
        (404, "404 page not found", RequestRefused),
        (408, "", ModelUnavailable),
        (429, "too many requests", ModelUnavailable),
        (499, "request cancelled", ModelUnavailable),
        (500, "llama runner process has terminated: exit status 2", ModelUnavailable),
        (500, "an error was encountered while running the model: unexpected EOF", ModelUnavailable),
        (500, "model requires more system memory (26 GiB) than is available (8 GiB)", ModelUnavailable),
        (500, "XML syntax error on line 4: element <parameter> closed by </function>", ReplyMalformed),
        (500, 'error parsing tool call: raw=\'{"command":"run the runner"\', err=EOF', ReplyMalformed),
        (500, "", ModelUnavailable),
        (502, "<html>bad gateway</html>", ModelUnavailable),
        (503, "server busy, please try again.  maximum pending requests exceeded", ModelUnavailable),
    ],
)
def test_first_shape_an_http_status_is_mapped_by_number_and_words(
    status: int, words: str, kind: type[ModelError]
) -> None:
    error = _failing(refusing(status, {"error": words}))
    assert type(error) is kind
    assert error.status == status
    assert error.host in str(error)
    assert error.model == OPTIONS.model


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("an error was encountered while running the model: unexpected EOF", ModelUnavailable),
        ("failed to parse JSON: unexpected end of JSON input", ReplyMalformed),
        ("prompt is too long", PromptTooLong),
    ],
)
def test_second_shape_an_error_line_inside_the_stream_is_mapped(words: str, kind: type[ModelError]) -> None:
    error = _failing(streaming(text_line("Hel"), {"error": words}))
    assert type(error) is kind
    assert isinstance(error.__cause__, ollama.ResponseError)
    assert error.status is None


def test_third_shape_a_refused_connection_is_an_outage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ModelUnavailable, match="is `ollama serve` running") as caught:
        _ask(f"127.0.0.1:{port}")
    assert isinstance(caught.value.__cause__, httpx.ConnectError)
    builtin = translate(ConnectionError("refused"), host="http://h:1")
    assert type(builtin) is ModelUnavailable


def test_fourth_shape_a_hung_server_is_an_outage() -> None:
    assert type(_failing(silent, Limits(first_token_s=0.2))) is ModelUnavailable
    stalled = _failing(stalling(text_line("Hel")), Limits(idle_s=0.2))
    assert type(stalled) is ModelUnavailable
    assert type(translate(httpx.ReadTimeout(""), host="http://h:1")) is ModelUnavailable


def test_fifth_shape_a_connection_that_dies_in_the_answer_is_an_outage() -> None:
    error = _failing(dying(text_line("Hel")))
    assert type(error) is ModelUnavailable
    assert isinstance(error.__cause__, httpx.RemoteProtocolError)


@pytest.mark.parametrize(
    "line",
    [b'{"message": {"role": "assis\n', b"<html>\n", b"[1]\n", b'"text"\n', b"\xff\xfe\n", b"[" * 20_000],
)
def test_sixth_shape_a_garbage_line_is_a_malformed_reply(line: bytes) -> None:
    error = _failing(streaming(text_line("Hel"), line, DONE))
    assert type(error) is ReplyMalformed
    assert error.partial_text == "Hel"


def test_seventh_shape_arguments_that_are_a_string_are_a_malformed_reply() -> None:
    error = _failing(streaming(_STRING_ARGUMENTS, DONE))
    assert type(error) is ReplyMalformed
    assert isinstance(error.__cause__, ValidationError)


def test_eighth_shape_a_stream_without_done_is_a_malformed_reply() -> None:
    error = _failing(streaming(text_line("Hello")))
    assert type(error) is ReplyMalformed
    assert "done" in str(error)
    assert error.partial_text == "Hello"


def test_stream_without_a_word_is_an_outage() -> None:
    assert type(_failing(streaming())) is ModelUnavailable


@pytest.mark.parametrize(
    "body", [b"plain words", b"[]", b"", {"error": {"message": "nested"}}, b'{"error": 5}']
)
def test_refusal_in_any_form_keeps_its_words(body: object) -> None:
    error = _failing(refusing(500, body))
    assert type(error) is ModelUnavailable
    if isinstance(body, dict):
        assert "nested" in str(error)


def test_every_error_of_httpx_is_mapped() -> None:
    request = httpx.Request("POST", "http://h:1")
    status = httpx.HTTPStatusError("x", request=request, response=httpx.Response(500))
    others = [kind("x") for kind in _descendants(httpx.HTTPError) if kind is not httpx.HTTPStatusError]
    assert len(others) > 15
    for error in (status, *others):
        assert isinstance(translate(error, host="http://h:1"), ModelError)
    assert type(translate(httpx.UnsupportedProtocol("x"), host="h")) is RequestRefused


def test_tree_at_the_top_of_the_module_names_every_error() -> None:
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, Exception):
            assert re.search(rf"\b{name}\b", errors.__doc__ or ""), name


def test_message_of_a_missing_model_says_what_next() -> None:
    error = refusal(404, json.dumps({"error": "model 'x' not found"}), "http://h:1", "x")
    assert "ollama pull x" in str(error)


def _descendants(kind: type[httpx.HTTPError]) -> list[type[httpx.HTTPError]]:
    return [deep for sub in kind.__subclasses__() for deep in (sub, *_descendants(sub))]
