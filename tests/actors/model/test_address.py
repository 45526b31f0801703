"""Model hosts may be written as people write them."""

from __future__ import annotations

import pytest

from actors.model.address import is_local, normalise_host


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", "http://127.0.0.1:11434"),
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("http://0.0.0.0:11434/", "http://127.0.0.1:11434"),
        ("gpu-box", "http://gpu-box:11434"),
        ("GPU_box.local:1234", "http://gpu_box.local:1234"),
        ("http://gpu-box", "http://gpu-box:80"),
        ("https://gpu.example", "https://gpu.example:443"),
        ("HTTPS://gpu.example:8443/ollama/", "https://gpu.example:8443/ollama"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("[::]", "http://[::1]:11434"),
        (' "127.0.0.1:11434" ', "http://127.0.0.1:11434"),
    ],
)
def test_host_is_normalised_and_stays_so(written: str, meant: str) -> None:
    assert normalise_host(written) == meant
    assert normalise_host(meant) == meant


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("ftp://x", "scheme 'ftp'"),
        ("host:99999", "is not an address"),
        ("host:abc", "is not an address"),
        ("host:0", "port 0"),
        ("two words", "contains a space"),
        ("http://me:pw@host", "OLLAMA_API_KEY"),
        ("host?x=1", "query"),
        ("ho$t", "not a host name"),
        ("http://[::1", "is not an address"),
    ],
)
def test_nonsense_is_refused_with_what_is_wrong(written: str, words: str) -> None:
    with pytest.raises(ValueError, match="model host") as caught:
        normalise_host(written)
    assert words in str(caught.value)


def test_only_loopback_counts_as_this_machine() -> None:
    assert all(is_local(normalise_host(text)) for text in ("", "localhost", "127.3.4.5", "::1"))
    assert not any(is_local(normalise_host(text)) for text in ("10.0.0.1", "gpu-box", "https://x.example"))
