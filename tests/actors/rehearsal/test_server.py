"""The scripted server speaks Ollama's protocol, and on request breaks it as real servers do."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ollama
import pytest

from actors.model.admin import probe
from actors.model.errors import (
    ModelCancelled,
    ModelError,
    ModelMissing,
    ModelUnavailable,
    PromptTooLong,
    ReplyMalformed,
)
from actors.model.ollama import OllamaClient
from actors.model.parsing.calls import extract
from actors.model.protocol import ChatMessage, Limits, ModelOptions, Reply
from actors.rehearsal.faults import FaultKind
from actors.rehearsal.script import parse_script
from actors.rehearsal.server import RehearsalServer
from tests.actors.model.parsing.corpus import TOOLS

OPTIONS = ModelOptions("qwen3-coder:30b")
LIMITS = Limits(first_token_s=0.3, idle_s=0.3)
SYSTEM = ChatMessage("system", "role: engineer\nagent: engineer-1\n")
TEXT = "I write the file now, as the task says."
CALL = {"tool": "write_file", "arguments": {"path": "a.py", "content": "x = {'a': 1}\n\nprint(x)\n"}}


def _scripted(**more: Any) -> dict[str, Any]:
    return {"scene": [{"reply": [{"text": TEXT, "calls": [CALL]}]}]} | more


def _ask(
    server: RehearsalServer,
    text: str = "go",
    options: ModelOptions = OPTIONS,
    prompt: Sequence[ChatMessage] | None = None,
) -> Reply:
    return OllamaClient(server.url, LIMITS).chat(
        prompt or (SYSTEM, ChatMessage("user", text)),
        TOOLS,
        options,
        on_text=lambda _text: None,
        cancelled=threading.Event(),
    )


def test_answer_streams_token_by_token_with_calls_and_plausible_counts() -> None:
    pieces: list[str] = []
    with RehearsalServer(parse_script(_scripted())) as server:
        reply = OllamaClient(server.url).chat(
            (SYSTEM, ChatMessage("user", "x" * 4000)),
            TOOLS,
            OPTIONS,
            on_text=pieces.append,
            cancelled=threading.Event(),
        )
    assert reply.text == "".join(pieces) == TEXT
    assert len(pieces) > 8
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [(CALL["tool"], CALL["arguments"])]
    assert reply.done_reason == "stop"
    assert 1000 < (reply.cost.prompt_tokens or 0) < 2000
    assert 10 < (reply.cost.generated_tokens or 0) < 60
    _until(lambda: len(server.served) == 1)
    assert [(item.role, item.agent, item.outcome) for item in server.served] == [
        ("engineer", "engineer-1", "answered")
    ]


def test_official_client_is_served_streaming_and_not() -> None:
    messages = [{"role": "user", "content": "go"}]
    with RehearsalServer(parse_script(_scripted())) as server, ollama.Client(server.url) as client:
        whole = client.chat(OPTIONS.model, messages)
        assert whole.message.content == TEXT
        assert whole.message.tool_calls
        chunks = list(client.chat(OPTIONS.model, messages, stream=True))
        assert "".join(chunk.message.content or "" for chunk in chunks) == TEXT
        assert chunks[-1].done
        assert client.list().models[0].model == OPTIONS.model
        assert client.show(OPTIONS.model).capabilities == ["completion", "tools"]
        assert client.ps().models[0].model == OPTIONS.model
        with pytest.raises(ollama.ResponseError, match="does not support thinking"):
            client.chat(OPTIONS.model, messages, think=True)


def test_model_that_the_script_does_not_name_is_missing() -> None:
    with RehearsalServer(parse_script(_scripted())) as server, pytest.raises(ModelMissing, match="other:7b"):
        _ask(server, options=ModelOptions("other:7b"))


def test_prompt_beyond_the_window_is_refused() -> None:
    with RehearsalServer(parse_script(_scripted())) as server, pytest.raises(PromptTooLong):
        _ask(server, "x" * 4000, ModelOptions(OPTIONS.model, context_window=512))


_ERRORS = {
    FaultKind.RUNNER_DIED: ModelUnavailable,
    FaultKind.PARSE_ERROR: ReplyMalformed,
    FaultKind.BUSY: ModelUnavailable,
    FaultKind.NOT_FOUND: ModelMissing,
    FaultKind.TOO_LONG: PromptTooLong,
    FaultKind.HANG: ModelUnavailable,
    FaultKind.STALL: ModelUnavailable,
    FaultKind.GARBAGE_LINE: ReplyMalformed,
    FaultKind.ERROR_LINE: ModelUnavailable,
    FaultKind.NO_DONE: ReplyMalformed,
    FaultKind.DROP: ModelUnavailable,
    FaultKind.STRING_ARGUMENTS: ReplyMalformed,
}


@pytest.mark.parametrize("kind", _ERRORS)
def test_fault_of_the_server_becomes_its_error_and_the_retry_gets_through(kind: FaultKind) -> None:
    with RehearsalServer(parse_script(_scripted(fault=[{"kind": kind.value}]))) as server:
        with pytest.raises(ModelError) as caught:
            _ask(server)
        assert type(caught.value) is _ERRORS[kind]
        # Another seed is no new request: the retry of the same prompt is what gets through.
        assert _ask(server, options=ModelOptions(OPTIONS.model, seed=5)).text == TEXT


@pytest.mark.parametrize("kind", [FaultKind.LEAKED_CALL, FaultKind.LEAKED_JSON])
def test_leaked_call_is_recovered_from_the_text_unchanged(kind: FaultKind) -> None:
    with RehearsalServer(parse_script(_scripted(fault=[{"kind": kind.value}]))) as server:
        reply = _ask(server)
    assert reply.tool_calls == ()
    taken = extract(reply, TOOLS)
    assert [(call.name, call.arguments) for call in taken.calls] == [(CALL["tool"], CALL["arguments"])]
    assert taken.text == TEXT


def test_faults_of_the_model_arrive_as_replies() -> None:
    replies = {}
    for kind in (FaultKind.EMPTY, FaultKind.LENGTH, FaultKind.UNKNOWN_TOOL):
        with RehearsalServer(parse_script(_scripted(fault=[{"kind": kind.value}]))) as server:
            replies[kind] = _ask(server)
    assert extract(replies[FaultKind.EMPTY], TOOLS).is_empty
    assert replies[FaultKind.LENGTH].done_reason == "length"
    assert "There is no tool" in extract(replies[FaultKind.UNKNOWN_TOOL], TOOLS).problems[0]


def test_every_kind_of_fault_is_tested_here() -> None:
    model_faults = {FaultKind.LEAKED_CALL, FaultKind.LEAKED_JSON, FaultKind.EMPTY, FaultKind.LENGTH}
    assert set(_ERRORS) | model_faults | {FaultKind.UNKNOWN_TOOL} == set(FaultKind)


def test_fault_of_one_reply_hits_that_reply_only_as_often_as_it_says() -> None:
    replies = [{"text": "first"}, {"text": "second", "fault": "503", "fault_times": 2}]
    prompt = (SYSTEM, ChatMessage("user", "go"), ChatMessage("assistant", "first"))
    with RehearsalServer(parse_script({"scene": [{"reply": replies}]})) as server:
        assert _ask(server).text == "first"
        for _ in range(2):
            with pytest.raises(ModelUnavailable):
                _ask(server, prompt=prompt)
        assert _ask(server, prompt=prompt).text == "second"


def test_cancelled_request_is_recorded_as_closed() -> None:
    script = parse_script({"scene": [{"reply": [{"text": "slow " * 50, "token_delay_ms": 50}]}]})
    cancelled = threading.Event()
    with RehearsalServer(script) as server:
        with pytest.raises(ModelCancelled):
            OllamaClient(server.url).chat(
                (ChatMessage("user", "x"),),
                (),
                OPTIONS,
                on_text=lambda _: cancelled.set(),
                cancelled=cancelled,
            )
        _until(lambda: len(server.served) == 1)
        assert server.served[0].outcome == "closed"


def test_summary_over_http_counts_what_was_served() -> None:
    with RehearsalServer(parse_script(_scripted(fault=[{"kind": "503"}], title="Night"))) as server:
        with pytest.raises(ModelUnavailable):
            _ask(server)
        _ask(server)
        _until(lambda: len(server.served) == 2)
        with urllib.request.urlopen(f"{server.url}/rehearsal", timeout=10) as answer:
            told = json.load(answer)
    assert told == {
        "title": "Night",
        "requests": 2,
        "repeated": 1,
        "outcomes": {"fault": 1, "answered": 1},
        "faults": {"503": 1},
    }


def test_stopped_server_drops_open_answers_and_one_on_the_same_port_answers_again() -> None:
    script = parse_script({"scene": [{"reply": [{"text": "slow " * 500, "token_delay_ms": 50}]}]})
    server = RehearsalServer(script).start()
    stopper = threading.Thread(target=server.stop)
    with pytest.raises(ModelUnavailable):
        OllamaClient(server.url).chat(
            (ChatMessage("user", "x"),),
            (),
            OPTIONS,
            on_text=lambda _: None if stopper.ident else stopper.start(),
            cancelled=threading.Event(),
        )
    stopper.join(10)
    assert not probe(server.url).reachable
    with RehearsalServer(parse_script(_scripted()), server.port) as again:
        assert _ask(again).text == TEXT


def test_second_stop_and_stop_without_start_are_harmless() -> None:
    server = RehearsalServer(parse_script(_scripted()))
    server.stop()
    server.stop()


def test_port_in_use_is_an_os_error() -> None:
    with RehearsalServer(parse_script(_scripted())) as server, pytest.raises(OSError, match="in use"):
        RehearsalServer(server.script, server.port)


# --- as a process ---


@pytest.fixture
def script_file(tmp_path: Path) -> Path:
    path = tmp_path / "script.toml"
    path.write_text('[[scene]]\n[[scene.reply]]\ntext = "hi"\n')
    return path


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "actors.rehearsal", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def process(script_file: Path) -> Iterator[subprocess.Popen[str]]:
    with _start("--script", str(script_file), "--until-stdin-closes") as started:
        yield started
        started.kill()


def test_process_prints_its_address_answers_and_exits_0_on_sigterm(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert probe(url).models == (OPTIONS.model,)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_process_ends_when_its_stdin_closes(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline()
    process.stdin.close()
    assert process.wait(10) == 0


def test_process_with_a_bad_script_says_so_and_exits_2(tmp_path: Path) -> None:
    with _start("--script", str(tmp_path / "missing.toml")) as started:
        _, said = started.communicate(timeout=30)
    assert started.returncode == 2
    assert "missing.toml cannot be read" in said
    assert "Traceback" not in said


def _until(holds: Any, deadline_s: float = 5) -> None:
    end_s = time.monotonic() + deadline_s
    wait = threading.Event()
    while not holds():
        assert time.monotonic() < end_s
        wait.wait(0.01)
