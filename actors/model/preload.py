"""Loads the model on every host when a crew starts, so that the first request need not wait for it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from actors import log
from actors.model.errors import ModelError
from actors.model.ollama import OllamaClient
from actors.model.protocol import Limits, ModelOptions

MAX_LOAD_S = 900.0


def start(hosts: Sequence[str], options: ModelOptions, limits: Limits) -> list[threading.Thread]:
    """Begin to load `options.model` on each host, one thread per host; returns at once.

    Loading takes minutes and stops if the client disconnects, so no message interrupts these threads. Failures are
    only logged: the first request finds them too, and can react.
    """
    long_limits = replace(
        limits,
        first_token_s=max(limits.first_token_s, MAX_LOAD_S),
        total_s=max(limits.total_s, MAX_LOAD_S),
    )
    threads = [
        threading.Thread(target=_load, args=(host, options, long_limits), name="preload", daemon=True)
        for host in hosts
    ]
    for thread in threads:
        thread.start()
    return threads


def _load(host: str, options: ModelOptions, limits: Limits) -> None:
    try:
        cost = OllamaClient(host, limits).preload(options)
    except ModelError as error:
        log.warning("model_not_loaded", host=host, model=options.model, reason=str(error))
    else:
        log.info("model_loaded", host=host, model=options.model, load_ms=round(cost.load_ms or 0))
