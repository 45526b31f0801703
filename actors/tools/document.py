"""Text files whose encoding, byte order mark and line ends are preserved; and checks of what an edit broke."""

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
# The model server changes `<T=string>` in an argument to `<T name="string">`.
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
    """A text file. `text` has no byte order mark. Bytes that are not UTF-8 are kept as surrogates."""

    text: str
    bom: bool
    newline: str

    def encode(self, text: str) -> bytes:
        """The bytes of a changed text, with the byte order mark of this file."""
        return ((_BOM if self.bom else "") + text).encode("utf-8", "surrogateescape")


def decode(content: bytes, shown: str) -> Document:
    """Read bytes as text. Raises ToolRefused for binary files."""
    if b"\0" in content[:65536]:
        raise ToolRefused(
            f"{shown} is a binary file; this tool reads text. Use shell, for example `file` or `xxd`."
        )
    text = content.decode("utf-8", "surrogateescape")
    bom = text.startswith(_BOM)
    text = text[len(_BOM) :] if bom else text
    crlf = text.count("\r\n")
    return Document(text, bom, "\r\n" if crlf > text.count("\n") - crlf else "\n")


def sha256(content: bytes | None) -> str | None:
    """The hash of a file's content; None for a missing file."""
    return None if content is None else hashlib.sha256(content).hexdigest()


def encodable(text: str) -> str:
    """The model's text with lone surrogates, which UTF-8 cannot encode, replaced by question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def introduced_error(shown: str, before: str | None, after: str) -> str | None:
    """The syntax error of `after`, unless `before` had one too; None if there is none (see `syntax_error`)."""
    error = syntax_error(shown, after)
    if error is None or (before is not None and syntax_error(shown, before) is not None):
        return None
    return error


def syntax_error(shown: str, text: str) -> str | None:
    """The syntax error of a Python, JSON or TOML file; None if it has none or is another kind of file."""
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
    """A warning if it looks as if the model server has changed `<x=y>` in the new text; otherwise None."""
    if shown.endswith(_MARKUP):
        return None
    found = _DAMAGED.search(new_text)
    if found is None or (before is not None and found[0] in before):
        return None
    return (
        f"Note: the text contains `{found[0]}`. If you wrote the form `<x=y>`, the model server has changed "
        "it. Correct it with shell, for example with sed or printf."
    )


def numbered(lines: list[str], first: int) -> str:
    """The lines with their numbers, as read_file shows them. `first`: the number of the first line."""
    return "\n".join(f"{number:>6}\t{line}" for number, line in enumerate(lines, first))
