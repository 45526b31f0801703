"""Recognises a change to a test file that only adds tests, and so weakens none."""

from __future__ import annotations

import ast
import re

MAX_CHARACTERS = 400_000
# In languages that are not parsed here: additions that can change how the tests beside them run.
_REACHES_FURTHER = re.compile(
    r"\b(?:mock|spyOn|stub|only|skip|todo|before|after|beforeEach|afterEach|beforeAll|afterAll|setUp|tearDown|prototype"
    r"|global|globalThis|process|defineProperty|TestMain|init\(\)|os\.Exit|exit|monkeypatch|override|require\.cache)\b"
)
_RUST_TESTS = "#[cfg(test)]"


def only_adds_tests(path: str, base: str, candidate: str) -> bool:
    """Whether everything of the base's test file is still there and the rest is new tests."""
    if max(len(base), len(candidate)) > MAX_CHARACTERS:
        return False
    if path.endswith(".py"):
        return _only_adds_python(base, candidate)
    remaining = iter(base.splitlines())
    expected = next(remaining, None)
    added = []
    for line in candidate.splitlines():
        if line == expected:
            expected = next(remaining, None)
        else:
            added.append(line)
    return expected is None and not any(_REACHES_FURTHER.search(line) for line in added)


def with_rust_tests_of(base: str, candidate: str) -> str:
    """The candidate's source file with the base's `#[cfg(test)]` modules instead of its own."""
    tests = rust_tests(base)
    if not tests:
        return candidate
    return _rust_parts(candidate)[0].rstrip("\n") + "\n\n" + tests


def rust_tests(text: str) -> str:
    """The `#[cfg(test)]` modules of a source file."""
    return _rust_parts(text)[1]


def _rust_parts(text: str) -> tuple[str, str]:
    """The source without its test modules, and these. A module ends with a brace at the start of a line."""
    source: list[str] = []
    tests: list[str] = []
    is_inside = False
    for line in text.splitlines(keepends=True):
        is_inside = is_inside or line.startswith(_RUST_TESTS)
        (tests if is_inside else source).append(line)
        if is_inside and line.startswith("}"):
            is_inside = False
    return "".join(source), "".join(tests)


def _only_adds_python(base: str, candidate: str) -> bool:
    try:
        before, after = ast.parse(base), ast.parse(candidate)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return _gained_only_tests(before.body, after.body)


def _gained_only_tests(before: list[ast.stmt], after: list[ast.stmt]) -> bool:
    """Whether `after` holds all of `before` in order, classes compared by their bodies, and else only new tests."""
    names = {name for statement in before for name in _names_of(statement)}
    position = 0
    for statement in after:
        if position < len(before) and _continues(before[position], statement):
            position += 1
        elif not _is_new_test(statement, names):
            return False
        else:
            names.update(_names_of(statement))
    return position == len(before)


def _continues(old: ast.stmt, new: ast.stmt) -> bool:
    if ast.dump(old) == ast.dump(new):
        return True
    if isinstance(old, ast.ImportFrom) and isinstance(new, ast.ImportFrom):
        return (old.module, old.level) == (new.module, new.level) and {a.name for a in old.names} <= {
            a.name for a in new.names
        }
    if not (isinstance(old, ast.ClassDef) and isinstance(new, ast.ClassDef)):
        return False
    outside = [ast.dump(ast.ClassDef(c.name, c.bases, c.keywords, [], c.decorator_list)) for c in (old, new)]
    return outside[0] == outside[1] and _gained_only_tests(old.body, new.body)


def _is_new_test(statement: ast.stmt, taken: set[str]) -> bool:
    """A test function or class, an import, or a constant, with a name that was not taken."""
    if not taken.isdisjoint(_names_of(statement)):
        return False
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return statement.name.startswith("test") and not _has_side_effects(statement.decorator_list)
        case ast.ClassDef():
            return not _has_side_effects(statement.decorator_list)
        case ast.Import() | ast.ImportFrom():
            return True
        case (
            ast.Assign(targets=[ast.Name()], value=value)
            | ast.AnnAssign(target=ast.Name(), value=ast.expr() as value)
        ):
            return _is_constant(value)
        case ast.Expr(value=ast.Constant()):
            return True
    return False


def _has_side_effects(decorators: list[ast.expr]) -> bool:
    # `@pytest.mark.…` and `@patch(…)` reach no further than their own test; a fixture may be for all.
    return any("fixture" in ast.dump(decorator) for decorator in decorators)


def _is_constant(value: ast.expr) -> bool:
    return not any(
        isinstance(node, ast.Call | ast.Lambda | ast.NamedExpr | ast.Await) for node in ast.walk(value)
    )


def _names_of(statement: ast.stmt) -> set[str]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {statement.name}
        case ast.Import() | ast.ImportFrom():
            return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    return {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
