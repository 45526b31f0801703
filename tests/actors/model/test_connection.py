"""A connection kept between requests: used again only where that is safe, and closed at the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from actors.model.errors import ModelCancelled, ModelUnavailable
from actors.model.ollama import OllamaClient
from actors.model.protocol import ChatMessage, Limits, ModelOptions, Reply
from tests.actors.model.loopback import (
    DONE,
    Answering,
    BadServer,
    Exchange,
    dying,
    silent,
    stalling,
    streaming,
    text_line,
)
from tests.support.waiting import eventually

PROMPT = [ChatMessage("system", "role: engineer"), ChatMessage("user", 'Say "hello", Zoë')]
HELLO = streaming(text_line("Hello"), DONE)


@contextmanager
def keeping(server: BadServer, limits: Limits | None = None) -> Iterator[OllamaClient]:
    model = OllamaClient(server.url, limits, keep_connection=True)
    try:
        yield model
    finally:
        model.close()


def ask(
    model: OllamaClient, prompt: list[ChatMessage] | None = None, cancelled: threading.Event | None = None
) -> Reply:
    return model.chat(
        prompt or PROMPT,
        (),
        ModelOptions("m"),
        on_text=lambda _text: None,
        cancelled=cancelled or threading.Event(),
    )


def test_requests_of_one_client_share_a_connection() -> None:
    with BadServer(HELLO, keeps=True) as server, keeping(server) as model:
        assert [ask(model).text for _ in range(3)] == ["Hello"] * 3
        assert (server.connections, len(server.requests)) == (1, 3)


def test_a_client_keeps_its_connection_only_on_request() -> None:
    with BadServer(HELLO, keeps=True) as server:
        model = OllamaClient(server.url)
        ask(model)
        ask(model)
        assert server.connections == 2


def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again() -> None:
    with BadServer(HELLO) as server, keeping(server) as model:
        for number in (1, 2, 3):
            assert ask(model).text == "Hello"
            assert server.connections == number
            eventually(lambda: not server.is_serving(server.connections), "the server has hung up")


def test_a_reply_without_the_end_of_its_stream_is_complete_and_its_connection_is_not_kept() -> None:
    with BadServer(stalling(text_line("Hello"), DONE), HELLO) as server, keeping(server) as model:
        assert ask(model).text == "Hello"
        assert server.saw_close.wait(5)
        assert ask(model).text == "Hello"
        assert server.connections == 2


@pytest.mark.parametrize("bad", [silent, stalling(text_line("Hel")), dying(text_line("Hel"))])
def test_after_a_failure_the_next_request_opens_a_new_connection(bad: Answering) -> None:
    limits = Limits(first_token_s=0.2, idle_s=0.2)
    with BadServer(HELLO, bad, HELLO, keeps=True) as server, keeping(server, limits) as model:
        ask(model)
        with pytest.raises(ModelUnavailable):
            ask(model)
        assert ask(model).text == "Hello"
        assert server.connections == 2


def test_a_cancelled_request_closes_the_kept_connection() -> None:
    cancelled = threading.Event()

    def waits(exchange: Exchange) -> None:
        cancelled.set()
        exchange.wait_until_closed()

    with BadServer(HELLO, waits, HELLO, keeps=True) as server, keeping(server) as model:
        ask(model)
        with pytest.raises(ModelCancelled):
            ask(model, cancelled=cancelled)
        assert server.saw_close.wait(5)
        assert ask(model).text == "Hello"


def test_grown_changed_and_shortened_prompts_are_sent_as_they_are() -> None:
    grown = [*PROMPT, ChatMessage("assistant", "Hello"), ChatMessage("user", "Again\u0085\u2028")]
    changed = [PROMPT[0], ChatMessage("user", "Something else"), *grown[2:]]
    prompts = [PROMPT, grown, changed, PROMPT, grown]
    with BadServer(HELLO, keeps=True) as server, keeping(server) as model:
        for prompt in prompts:
            ask(model, prompt)
            ask(OllamaClient(server.url), [ChatMessage(m.role, m.content) for m in prompt])
        bodies = [request.body for request in server.requests]
        assert bodies[::2] == bodies[1::2]
        sent = [[m["content"] for m in request.json()["messages"]] for request in server.requests[::2]]
    assert sent == [[message.content for message in prompt] for prompt in prompts]


def test_close_leaves_no_descriptor_open_and_the_next_request_is_answered() -> None:
    with BadServer(HELLO, keeps=True) as server, keeping(server) as model:
        ask(model)
        model.close()
        eventually(lambda: not server.is_serving(1), "the server has seen the end")
        before = psutil.Process().num_fds()
        for _ in range(3):
            ask(model)
            model.close()
            model.close()
        eventually(lambda: psutil.Process().num_fds() <= before, "no descriptor is left open")
