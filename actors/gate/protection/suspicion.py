"""Finds product code that asks whether it is being tested, or that answers only what is tested.

Such code may be right, so it does not block a merge: the merge is marked, and a person or QA reads the lines.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping

MAX_CHARACTERS = 200_000

_ASKS = {
    "ends the process": (
        r"os\._exit\b|\bos\.kill\(|os\.exec[lv]|os\.abort\(|process\.(?:exit|reallyExit|abort)\(|atexit"
        r"|process::(?:exit|abort)\(|\bos\.Exit\(|System\.exit\(|Runtime\.[^;]*halt\(|\b_exit\("
    ),
    "writes around the runner's output": (
        r"/proc/|/dev/(?:fd|tty|pts)|os\.dup2|os\.write\(\s*[12]\b|fs\.writeSync\(\s*[12]\b"
        r"|\b(?:sys\.stdout|sys\.stderr)\s*="
    ),
    "asks whether it is being tested": (
        r"PYTEST_|NIGHTCREW|JEST_WORKER|VITEST|MOCHA|NODE_ENV|RAILS_ENV|RACK_ENV|APP_ENV|GITHUB_ACTIONS|\bCI['\"]"
        r"|cfg!?\(test\)|testing\.Testing\(|flag\.Lookup|import\.meta\.vitest|\bisTest\b|IS_TEST|TESTING\b"
    ),
    "uses the test library": (
        r"\b(?:import|from|require\(?)\s*['\"]?"
        r"(?:_?pytest|unittest|nose2?|jest|vitest|mocha|node:test|chai|sinon|rspec|minitest)\b"
    ),
    "reaches into the interpreter": (
        r"sys\.modules|sys\.meta_path|sys\.path_hooks|sys\._getframe|inspect\.(?:stack|currentframe|getouterframes)"
        r"|traceback\.extract_stack|gc\.get_(?:objects|referrers)|ctypes|sys\.set(?:trace|profile)"
        r"|require\.cache|module\.parent|require\.main|vm\.run"
    ),
    "replaces what is not its own": (
        r"builtins\b|(?:Object|Array|String|Function|Number)\.prototype\.\w+\s*=|globalThis\.\w+\s*="
        r"|setattr\(\s*(?:sys|os|unittest|pytest)|\bAssertionError\b|assert(?:Equal|True|_\w+)?\s*="
    ),
    "touches tests": r"\bopen\([^)\n]*(?:test|conftest|\.ini|\.cfg)|glob\([^)\n]*test",
    "depends on where or how it runs": (
        r"\b(?:if|elif|while|and|or|return|unless|when|switch|match)\b.*"
        r"(?:/gate|/scratch|\bgetcwd\(|\.cwd\(|os\.Getwd\(|__file__|__dirname|import\.meta\.url|current_dir\("
        r"|sys\.(?:orig_)?argv|process\.argv|os\.Args|env::args"
        r"|os\.environ|os\.getenv|process\.env|os\.Getenv|env::var|System\.getenv|ENV\[)|/gate/"
    ),
}
_PATTERNS = tuple((re.compile(pattern), reason) for reason, pattern in _ASKS.items())
_EQUALS = re.compile(
    r"def __(?:eq|ne|lt|le|gt|ge|bool|contains|hash)__\([^)\n]*\)[^:\n]*:\s*\n?\s*return\s+(?:True|False|not False|1)\b"
    r"|\bequals\([^)\n]*\)\s*\{?\s*\n?\s*return true|fn eq\([^)\n]*\)[^{\n]*\{\s*\n?\s*true"
    r"|operator==\([^)\n]*\)[^{\n]*\{\s*return true"
    r"|valueOf\(\)\s*\{|toJSON\(\)\s*\{|asymmetricMatch|Symbol\.toPrimitive|new Proxy\("
)
_LITERAL = r"(-?\d+(?:\.\d+)?|'[^'\n]{1,80}'|\"[^\"\n]{1,80}\"|True|False|true|false|None|null|nil)"
_PAIRS = (
    re.compile(
        rf"(?:==|===|equals\(|is|case|when)\s*{_LITERAL}[^\n]{{0,40}}\n?[^\n]{{0,40}}?(?:return|=>|->|then)\s*{_LITERAL}"
    ),
    re.compile(rf"\(?{_LITERAL}\)?,?\)?\s*(?::|=>|->)\s*{_LITERAL}"),
)


def suspicious_lines(changed: Mapping[str, tuple[str, str]], tests: Iterable[str]) -> list[str]:
    """Sentences about product files, given as path: (base's text, candidate's text). `tests` are test files' texts."""
    test_lines = [line for text in tests for line in text[:MAX_CHARACTERS].splitlines()]
    sentences = []
    for path, texts in changed.items():
        base, candidate = (text[:MAX_CHARACTERS] for text in texts)
        known = {line.strip() for line in base.splitlines()}
        added = [line[:500] for line in candidate.splitlines() if line.strip() not in known]
        sentences += [f"{path} {text}" for text in _questions(added)]
        if _EQUALS.search("\n".join(added)):
            sentences.append(f"{path} defines a comparison that does not compare")
        if (pairs := _answers("\n".join(added), test_lines)) >= 2:
            sentences.append(f"{path} holds {pairs} answers that stand in the tests")
        if path.endswith(".py"):
            sentences += [
                f"{path}: {name}() ignores its arguments" for name in _constant_functions(base, candidate)
            ]
    return sentences[:30]


def _questions(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        found = next((reason for pattern, reason in _PATTERNS if pattern.search(line)), None)
        if found is not None:
            yield f"{found}: {line.strip()[:120]}"


def _answers(text: str, test_lines: list[str]) -> int:
    """How many pairs of input and answer in the text stand together in one line of the tests."""
    pairs = {found.groups() for pattern in _PAIRS for found in pattern.finditer(text)}
    return sum(
        any(_has(line, given) and _has(line, answer) for line in test_lines)
        for given, answer in list(pairs)[:200]
    )


def _has(line: str, literal: str) -> bool:
    if literal[0] in "'\"":
        return literal[1:-1] in line
    return re.search(rf"(?<![\w.]){re.escape(literal)}(?![\w.])", line) is not None


def _constant_functions(base: str, candidate: str) -> list[str]:
    """Names of new or changed Python functions that use none of their arguments and return constants only."""
    try:
        before = {ast.dump(node) for node in ast.walk(ast.parse(base)) if isinstance(node, ast.FunctionDef)}
        functions = [node for node in ast.walk(ast.parse(candidate)) if isinstance(node, ast.FunctionDef)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [node.name for node in functions if ast.dump(node) not in before and _is_constant(node)]


def _is_constant(function: ast.FunctionDef) -> bool:
    arguments = {one.arg for one in function.args.args} - {"self", "cls"}
    used = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
    is_overload = bool(function.decorator_list) or len(arguments) == 0
    return (
        not is_overload
        and arguments.isdisjoint(used)
        and bool(returned)
        and all(isinstance(value, ast.Constant) for value in returned)
    )
