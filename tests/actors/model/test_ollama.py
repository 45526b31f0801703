"""The client sends what Ollama needs, reads any reply, obeys its limits, and stops at once when cancelled."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from actors.model.admin import HostStatus, probe, pull, show_model
from actors.model.errors import ModelCancelled, ModelMissing, ModelUnavailable
from actors.model.ollama import OllamaClient
from actors.model.protocol import ChatMessage, Limits, ModelOptions, Reply, ToolCall
from actors.rehearsal.script import parse_script
from actors.rehearsal.server import RehearsalServer
from tests.actors.model.loopback import (
    DONE,
    BadServer,
    Exchange,
    refusing,
    silent,
    stalling,
    streaming,
    text_line,
)
from tests.actors.model.parsing.corpus import READ, SHELL

OPTIONS = ModelOptions("qwen3-coder:30b", context_window=8192, max_tokens=100)
PROMPT = (ChatMessage("system", "role: engineer"), ChatMessage("user", "hello"))


def _chat(
    url: str,
    *,
    options: ModelOptions = OPTIONS,
    limits: Limits | None = None,
    on_text: Callable[[str], None] = lambda _text: None,
    cancelled: threading.Event | None = None,
) -> Reply:
    return OllamaClient(url, limits).chat(
        PROMPT, (SHELL, READ), options, on_text=on_text, cancelled=cancelled or threading.Event()
    )


def test_request_streams_forbids_cutting_and_always_sets_window_and_token_limit() -> None:
    with BadServer(streaming(DONE)) as server:
        _chat(server.url)
        body = server.requests[0].json()
    assert body["stream"] is True
    assert body["truncate"] is False
    assert body["shift"] is False
    assert body["options"]["num_ctx"] == 8192
    assert body["options"]["num_predict"] == 100
    assert "seed" not in body["options"]
    assert body["keep_alive"] == "30m"
    assert body["tools"] == [SHELL.as_json(), READ.as_json()]
    assert body["messages"][0] == {"role": "system", "content": "role: engineer"}


def test_seed_and_numeric_keep_alive_are_sent_as_numbers() -> None:
    with BadServer(streaming(DONE)) as server:
        _chat(server.url, options=ModelOptions("m", seed=7, keep_alive="-1"))
        body = server.requests[0].json()
    assert body["options"]["seed"] == 7
    assert body["keep_alive"] == -1


def test_same_prompt_gives_the_same_bytes() -> None:
    with BadServer(streaming(DONE)) as server:
        _chat(server.url)
        _chat(server.url)
        assert server.requests[0].body == server.requests[1].body


def test_tool_calls_of_the_history_are_sent_and_empty_results_stay_messages() -> None:
    history = (
        *PROMPT,
        ChatMessage("assistant", "", (ToolCall("shell", {"command": "ls"}),)),
        ChatMessage("tool", ""),
    )
    with BadServer(streaming(DONE)) as server:
        OllamaClient(server.url).chat(
            history, (), OPTIONS, on_text=lambda _text: None, cancelled=threading.Event()
        )
        body = server.requests[0].json()
    assert body["messages"][2:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "shell", "arguments": {"command": "ls"}}}],
        },
        {"role": "tool", "content": ""},
    ]


def test_pieces_arrive_one_by_one_and_form_the_reply_with_its_calls_and_cost() -> None:
    call = {"function": {"name": "shell", "arguments": {"command": "ls", "timeout_s": None}}}
    lines = (
        text_line("Hel"),
        text_line("lo"),
        {"message": {"role": "assistant", "content": "", "tool_calls": [call]}, "done": False},
        DONE | {"prompt_eval_cached_count": 9, "load_duration": 2_000_000, "total_duration": 5_500_000},
    )
    pieces: list[str] = []
    with BadServer(streaming(*lines)) as server:
        reply = _chat(server.url, on_text=pieces.append)
    assert pieces == ["Hel", "lo"]
    assert reply.text == "Hello"
    assert reply.tool_calls == (ToolCall("shell", {"command": "ls", "timeout_s": None}),)
    assert (reply.cost.prompt_tokens, reply.cost.cached_tokens, reply.cost.generated_tokens) == (11, 9, 3)
    assert (reply.cost.load_ms, reply.cost.total_ms) == (2.0, 5.5)


def test_reply_cut_by_the_token_limit_is_returned() -> None:
    with BadServer(streaming(text_line("Hel"), DONE | {"done_reason": "length"})) as server:
        assert _chat(server.url).done_reason == "length"


@pytest.mark.parametrize("text", ["a\x85b", "a\u2028b", "ä€😀", "a\x0bb\x1cc", "\r\n\t"])
def test_any_character_survives_the_stream(text: str) -> None:
    with BadServer(streaming(text_line(text), DONE)) as server:
        assert _chat(server.url).text == text


def test_lines_split_anywhere_by_the_network_are_joined() -> None:
    def answer(exchange: Exchange) -> None:
        exchange.begin()
        answer = text_line("ä"), DONE
        data = b"\n" + b"\n\n".join(json.dumps(line, ensure_ascii=False).encode() for line in answer)
        for byte in data:
            exchange.line(bytes([byte]))
        exchange.end()

    with BadServer(answer) as server:
        assert _chat(server.url).text == "ä"


def test_complete_reply_is_not_lost_when_the_connection_hangs_after_it() -> None:
    with BadServer(stalling(text_line("Hello"), DONE)) as server:
        assert _chat(server.url).text == "Hello"


def test_error_of_the_callback_is_not_a_model_error_and_closes_the_stream() -> None:
    def fails(_text: str) -> None:
        raise OSError("screen is gone")

    with BadServer(stalling(text_line("Hello"))) as server:
        with pytest.raises(OSError, match="screen is gone"):
            _chat(server.url, on_text=fails)
        assert server.saw_close.wait(5)


# --- limits ---


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(first_token_s=0.2), "sent nothing for 0.2 s"),
        (Limits(total_s=0.2), "longer than 0.2 s in total"),
    ],
)
def test_server_that_never_answers_is_given_up_at_the_limit(limits: Limits, words: str) -> None:
    with BadServer(silent) as server:
        with pytest.raises(ModelUnavailable, match=words):
            _chat(server.url, limits=limits)
        assert server.saw_close.wait(5)


def test_server_that_stops_sending_is_given_up_at_the_idle_limit() -> None:
    with BadServer(stalling(text_line("Hel"))) as server:
        with pytest.raises(ModelUnavailable, match="stopped sending for"):
            _chat(server.url, limits=Limits(idle_s=0.2))
        assert server.saw_close.wait(5)


def test_endless_reply_is_given_up_at_the_total_limit() -> None:
    def babble(exchange: Exchange) -> None:
        exchange.begin()
        while True:
            exchange.line(text_line("x"))

    with BadServer(babble) as server, pytest.raises(ModelUnavailable, match="in total"):
        _chat(server.url, limits=Limits(total_s=0.3))


def test_connection_that_is_never_accepted_is_given_up_at_the_connect_limit() -> None:
    with _full_listener() as url, pytest.raises(ModelUnavailable):
        _chat(url, limits=Limits(connect_s=0.2))


# --- cancelling ---


@contextlib.contextmanager
def _full_listener() -> Iterator[str]:
    """A port whose queue of connections is full, so that connecting hangs."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        address = listener.getsockname()
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"


def _cancel_latency_s(url: str, ready: threading.Event | None) -> float:
    """Seconds from setting `cancelled` to the error, set once `ready` is."""
    cancelled = threading.Event()
    caught: list[BaseException] = []

    def chat() -> None:
        try:
            _chat(url, cancelled=cancelled)
        except ModelCancelled as error:
            caught.append(error)

    thread = threading.Thread(target=chat)
    thread.start()
    if ready is not None:
        assert ready.wait(10)
    thread.join(0.1)  # into the wait itself, past the start of the request
    started_s = time.perf_counter()
    cancelled.set()
    thread.join(10)
    assert caught, "the call did not end in ModelCancelled"
    return time.perf_counter() - started_s


def test_cancel_while_connecting_takes_under_200_ms() -> None:
    with _full_listener() as url:
        assert _cancel_latency_s(url, None) < 0.2


def test_cancel_before_the_first_token_takes_under_200_ms_and_closes_the_connection() -> None:
    with BadServer(silent) as server:
        assert _cancel_latency_s(server.url, server.saw_request) < 0.2
        assert server.saw_close.wait(5)


def test_cancel_during_generation_takes_under_200_ms_and_closes_the_connection() -> None:
    with BadServer(stalling(text_line("Hel"))) as server:
        assert _cancel_latency_s(server.url, server.saw_request) < 0.2
        assert server.saw_close.wait(5)


def test_cancel_before_the_call_sends_nothing() -> None:
    cancelled = threading.Event()
    cancelled.set()
    with BadServer(streaming(DONE)) as server:
        with pytest.raises(ModelCancelled):
            _chat(server.url, cancelled=cancelled)
        assert server.requests == []


def test_chat_works_in_a_thread_of_a_forked_process_that_has_other_threads() -> None:
    program = """
import os, sys, threading
from actors.model.ollama import OllamaClient
from actors.model.protocol import ChatMessage, ModelOptions
model = OllamaClient(sys.argv[1])
said = []
def chat():
    reply = model.chat([ChatMessage("user", "hi")], (), ModelOptions("m"),
                       on_text=lambda text: None, cancelled=threading.Event())
    said.append(reply.text)
chat()
child = os.fork()
if child == 0:
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    threads = [threading.Thread(target=chat) for _ in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    stop.set()
    os._exit(0 if said == ["Hello"] * 4 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    with BadServer(streaming(text_line("Hello"), DONE)) as server:
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, server.url], check=False, timeout=60
        )
    assert ended.returncode == 0


def test_proxy_of_the_environment_is_not_used_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with BadServer(streaming(DONE)) as server:
        assert _chat(server.url).done_reason == "stop"


def test_calls_leave_no_descriptor_open() -> None:
    with BadServer(streaming(DONE)) as server, BadServer(silent) as hung:
        _chat(server.url)
        before = psutil.Process().num_fds()
        for _ in range(5):
            _chat(server.url)
            with pytest.raises(ModelUnavailable):
                _chat(hung.url, limits=Limits(first_token_s=0.01))
        hung.saw_close.wait(5)
    after = psutil.Process().num_fds()
    assert after <= before


# --- requests that are not chat ---


def test_probe_reports_version_and_models_of_a_host() -> None:
    script = parse_script({"models": ["a:1b", "b:2b"]})
    with RehearsalServer(script) as server:
        assert probe(server.url) == HostStatus(server.url, True, "0.33.0-rehearsal", ("a:1b", "b:2b"))


def test_probe_accepts_a_server_without_a_version() -> None:
    with BadServer(
        refusing(404, b"404 page not found"), refusing(200, {"models": [{"model": "m"}, 5]})
    ) as server:
        assert probe(server.url) == HostStatus(server.url, True, None, ("m",))


def test_probe_of_nothing_of_a_hung_server_and_of_nonsense_says_what_is_wrong() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    gone = probe(f"127.0.0.1:{port}")
    assert (gone.reachable, gone.models) == (False, ())
    assert "ollama serve" in (gone.error or "")
    with BadServer(silent) as server:
        hung = probe(server.url, timeout_s=0.2)
        assert hung.error == f"{server.url} did not answer within 0.2 s"
    assert "port" in (probe("host:99999").error or "").lower()
    with BadServer(refusing(200, b"<html>hello</html>")) as server:
        assert probe(server.url).error is not None


def test_show_preload_and_pull_work_with_a_server() -> None:
    with RehearsalServer(parse_script({"context_length": 4096})) as server:
        facts = show_model(server.url, "qwen3-coder:30b")
        assert ("tools" in facts.capabilities, facts.context_length) == (True, 4096)
        assert OllamaClient(server.url).preload(OPTIONS).prompt_tokens is None
        with pytest.raises(ModelMissing):
            show_model(server.url, "tiny:1b")
        progress = list(pull(server.url, "tiny:1b"))
        assert progress[-1].status == "success"
        assert {step.total_bytes for step in progress} == {None, 1_000_000}
        assert show_model(server.url, "tiny:1b").capabilities


def test_show_accepts_missing_fields() -> None:
    with BadServer(refusing(200, {"model_info": [], "capabilities": "x"})) as server:
        assert show_model(server.url, "m").capabilities == ()


@pytest.mark.parametrize(
    "answer",
    [
        streaming({"status": "pulling manifest"}),
        streaming({"status": "pulling manifest"}, {"error": "no space left on device"}),
    ],
)
def test_pull_that_does_not_end_in_success_is_an_error(answer: Callable[[Exchange], None]) -> None:
    with BadServer(answer) as server:
        steps = pull(server.url, "m")
        assert next(steps).status == "pulling manifest"
        with pytest.raises(ModelUnavailable):
            next(steps)
