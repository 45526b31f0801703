"""Loading the model on every host when a crew starts, by one process, with the options that all will send.

A load may take minutes, and a client that disconnects during one aborts it: so this has threads of its
own, which no message interrupts.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from actors import log
from actors.model.errors import ModelError
from actors.model.ollama import OllamaClient
from actors.model.protocol import Limits, ModelOptions
from actors.runtime.actor import Runtime

LOAD_S = 900.0


def start(runtime: Runtime, options: ModelOptions) -> list[threading.Thread]:
    """Begin to load `options.model` on each host; returns at once. Failures are only logged: whoever asks
    finds out what to do about them."""
    settings = runtime.config.model
    limits = settings.request_limits()
    patient = replace(
        limits,
        first_token_s=max(limits.first_token_s, LOAD_S),
        total_s=max(limits.total_s, LOAD_S),
    )
    threads = [
        threading.Thread(target=_load, args=(host, options, patient), name="preload", daemon=True)
        for host in settings.hosts
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
