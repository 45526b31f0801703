"""Text files as bytes that must survive: encoding, byte order mark, line ends; and what an edit broke."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import tomllib
import warnings
from dataclasses import dataclass

from actors.tools.base import ToolRefused

_BOM = "\ufeff"
# The model server is known to turn `<T=string>` in an argument into `<T name="string">`.
_DAMAGED = re.compile(r'<\w+ name="\w*">')
_MARKUP = (
    ".html",
    ".htm",
    ".xml",
    ".svg",
    ".jsx",
    ".tsx",
    ".vue",
    ".svelte",
    ".md",
    ".php",
    ".xsd",
    ".xsl",
    ".erb",
)


@dataclass(frozen=True, slots=True)
class Document:
    """A text file. `text` is without the byte order mark; bytes that are no UTF-8 survive as surrogates."""

    text: str
    bom: bool
    newline: str

    def encode(self, text: str) -> bytes:
        """Bytes for a changed text, with this file's byte order mark."""
        return ((_BOM if self.bom else "") + text).encode("utf-8", "surrogateescape")


def decode(content: bytes, shown: str) -> Document:
    """Read bytes as text. Raises ToolRefused for binary files."""
    if b"\0" in content[:65536]:
        raise ToolRefused(
            f"{shown} is a binary file; this tool is for text. Use shell (`file`, `xxd`, a program)."
        )
    text = content.decode("utf-8", "surrogateescape")
    bom = text.startswith(_BOM)
    text = text[len(_BOM) :] if bom else text
    crlf = text.count("\r\n")
    return Document(text, bom, "\r\n" if crlf > text.count("\n") - crlf else "\n")


def sha256(content: bytes | None) -> str | None:
    """None for a file that is not there."""
    return None if content is None else hashlib.sha256(content).hexdigest()


def encodable(text: str) -> str:
    """Text from a model, made fit for UTF-8: lone surrogates, which it can't mean, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def introduced_error(shown: str, before: str | None, after: str) -> str | None:
    """The syntax error that `after` has and `before` had not (Python, JSON, TOML); None if there is none."""
    error = syntax_error(shown, after)
    if error is None or (before is not None and syntax_error(shown, before) is not None):
        return None
    return error


def syntax_error(shown: str, text: str) -> str | None:
    """What is wrong with a Python, JSON or TOML text; None for all that parses and all other kinds."""
    try:
        if shown.endswith((".py", ".pyi")):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compile(text, shown, "exec", flags=ast.PyCF_ONLY_AST, dont_inherit=True)
        elif shown.endswith(".json"):
            json.loads(text)
        elif shown.endswith(".toml"):
            tomllib.loads(text)
    except SyntaxError as error:
        line = f"line {error.lineno}: " if error.lineno else ""
        return f"{line}{error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error) or type(error).__name__
    return None


def damage_note(shown: str, new_text: str, before: str | None) -> str | None:
    """A warning if the new text looks as if the model server had rewritten `<x=y>` in it."""
    if shown.endswith(_MARKUP):
        return None
    found = _DAMAGED.search(new_text)
    if found is None or (before is not None and found[0] in before):
        return None
    return (
        f"Note: the text holds `{found[0]}`. If you meant the form `<x=y>`, it was changed on the way; "
        "correct it with shell, for example with sed or printf."
    )


def numbered(lines: list[str], first: int) -> str:
    """Lines with their numbers (`first` is that of the first), as read_file shows them."""
    return "\n".join(f"{number:>6}\t{line}" for number, line in enumerate(lines, first))
