"""Attacks on the gate as one table: none merges without its mark, and honest work merges without one."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from actors.gate.checks import CheckReport
from actors.gate.merging import GateResult, evaluate
from actors.git.refs import create_branch
from actors.git.repository import open_repository
from store.states import GateVerdict
from tests.actors.git.user_repository import UserRepository, run_in_shell

# Without the plugins of our own environment, which take most of the time of such short runs.
PYTEST = f"PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 {sys.executable} -m pytest -q -p no:cacheprovider"
UNITTEST = f"{sys.executable} -m unittest discover -s tests -t ."
CODE = "def double(x):\n    return x * 2\n"
TRIPLE = "\n\ndef triple(x):\n    return x * 3\n"
CASE = "import unittest\n\nimport calc\n\n\nclass Case(unittest.TestCase):\n"
DOUBLE_TEST = (
    "    def test_double(self):\n        self.assertEqual(calc.double(2), 4)\n\n"
    "    def test_double_more(self):\n        self.assertEqual(calc.double(5), 10)\n\n"
)
TRIPLE_TEST = "    def test_triple(self):\n        self.assertEqual(calc.triple(2), 6)\n"
TESTS = {
    "tests/__init__.py": "",
    "tests/test_double.py": CASE + DOUBLE_TEST,
    "tests/test_triple.py": CASE + TRIPLE_TEST,
}
OTHERS = {
    "calc.py": CODE,
    "tests/data/expected.txt": "4\n",
    "tests/helpers.py": "LIMIT = 1\n",
    "Makefile": f"test:\n\t{UNITTEST}\n",
    "run_tests.sh": f"{UNITTEST}\n",
    "setup.cfg": "[metadata]\nname = x\n",
    "pyproject.toml": '[project]\nname = "x"\n\n[tool.pytest.ini_options]\ntestpaths = ["tests"]\n',
    "package.json": json.dumps({"name": "x", "scripts": {"test": "node --test"}}),
    "web.test.js": "const {test} = require('node:test');\ntest('web', () => { if (require('./web.js').f() !== 1) throw 1; });\n",
    "web.js": "exports.f = () => 1;\n",
    "requirements.txt": "x==1\n",
    ".github/workflows/ci.yml": "on: push\n",
    "src/lib.rs": "pub fn f() -> i32 { 1 }\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn t() { assert_eq!(super::f(), 1); }\n}\n",
    "pkg/a_test.go": "package a\n\nfunc TestA(t *testing.T) { if f() != 1 { t.Fatal() } }\n",
    "pom.xml": "<project>\n<version>1</version>\n</project>\n",
    "CMakeLists.txt": "add_executable(x x.c)\nadd_test(NAME x COMMAND x)\n",
    "Cargo.toml": '[package]\nname = "x"\n',
    "conftest.py": "import pytest\n",
}
GREEN, RED = "green", "red"
QUIT = "import os\nprint('3 passed in 0.01s', flush=True)\nos._exit(0)\n"


@dataclass(frozen=True)
class Attack:
    """A change to the base: `files` to write (None: delete), `links` to make. `refused`, or merged with a mark."""

    name: str
    files: Mapping[str, str | None]
    why: str
    base: str = RED
    commands: tuple[str, ...] = (PYTEST,)
    refused: bool = True
    links: Mapping[str, str] = field(default_factory=dict)


def code(text: str, implemented: str = "") -> dict[str, str | None]:
    return {"calc.py": text + CODE + implemented}


HOOK = "def pytest_runtest_makereport(item, call):\n    from _pytest.reports import TestReport\n    r = TestReport.from_item_and_call(item, call)\n    r.outcome = 'passed'\n    r.longrepr = None\n    return r\n"
DUMMIES = {"dummies/test_dummy.py": "def test_a(): pass\ndef test_b(): pass\ndef test_c(): pass\n"}
EMPTY = {"tests/test_triple.py": CASE + "    def test_triple(self):\n        self.assertTrue(True)\n"}
TRUE = ("true",)
MAKE, SCRIPT, NPM = ("make test",), ("sh run_tests.sh",), ("npm test",)
EQUAL = "class Any:\n    def __eq__(self, other):\n        return True\n\n\n"

ATTACKS = [
    # Support and settings that decide what is collected and how it is reported.
    Attack("a conftest that rewrites reports", {"conftest.py": HOOK}, "changes the support file conftest.py"),
    Attack("a new conftest that rewrites reports", {"tests/conftest.py": HOOK}, "tests/conftest.py"),
    Attack("a conftest that drops items", {"tests/conftest.py": "def pytest_collection_modifyitems(items):\n    items[:] = items[:2]\n"}, ""),
    Attack("a conftest that ends the process", {"conftest.py": f"def pytest_sessionfinish():\n    {QUIT!r}\n    import os\n    os._exit(0)\n"}, ""),
    Attack("a conftest that ignores files", {"tests/conftest.py": "collect_ignore = ['test_triple.py']\n"}, ""),
    Attack("a conftest with a fixture for all", {"tests/conftest.py": "import pytest\n@pytest.fixture(autouse=True)\ndef f():\n    import calc\n    calc.triple = lambda x: 6\n"}, ""),
    Attack("a conftest that xfails at run time", {"conftest.py": "import pytest\ndef pytest_runtest_setup(item):\n    item.add_marker(pytest.mark.xfail)\n"}, "conftest.py"),
    Attack("a plugin named in setup.cfg", {"setup.cfg": "[tool:pytest]\naddopts = -p plug\n", "plug.py": HOOK}, "setup.cfg"),
    Attack("a plugin named in pytest.ini", {"pytest.ini": "[pytest]\naddopts = -p plug\n", "plug.py": HOOK}, ""),
    Attack("testpaths elsewhere", {"pyproject.toml": '[tool.pytest.ini_options]\ntestpaths = ["dummies"]\n', **DUMMIES}, "pyproject.toml"),
    Attack("testpaths elsewhere in pytest.ini", {"pytest.ini": "[pytest]\ntestpaths = dummies\n", **DUMMIES}, ""),
    Attack("testpaths elsewhere in tox.ini", {"pyproject.toml": "", "tox.ini": "[pytest]\ntestpaths = dummies\n", **DUMMIES}, ""),
    Attack("collecting only", {"pytest.ini": "[pytest]\naddopts = --co\n"}, ""),
    Attack("deselecting a test", {"pytest.ini": "[pytest]\naddopts = --deselect tests/test_triple.py\n"}, ""),
    Attack("a pattern for other functions", {"pytest.ini": "[pytest]\npython_functions = check_*\npython_classes = X\n"}, ""),
    Attack("an entry point in the root", {"x.egg-info/entry_points.txt": "[pytest11]\nx = plug\n", "plug.py": HOOK}, "x.egg-info"),
    # Names that take the place of the runner or a library.
    Attack("pytest.py in the root", {"pytest.py": "print('3 passed in 0.01s')\n"}, "hides the module pytest"),
    Attack("a package called pytest", {"pytest/__init__.py": "", "pytest/__main__.py": "print('3 passed in 0.01s')\n"}, "hides the module pytest"),
    Attack("_pytest in the root", {"_pytest/__init__.py": ""}, "hides the module _pytest"),
    Attack("a package called unittest", {"unittest/__init__.py": "", "unittest/__main__.py": "print('Ran 3 tests in 0s\\n\\nOK')\n"}, "hides the module unittest", commands=(UNITTEST,)),
    Attack("a folder without __init__", {"unittest/case.py": ""}, "hides the module unittest", commands=(UNITTEST,)),
    Attack("sitecustomize.py", {"sitecustomize.py": QUIT}, "hides the module sitecustomize"),
    Attack("usercustomize.py", {"src/usercustomize.py": QUIT}, "hides the module usercustomize"),
    Attack("a module of the standard library", {"random.py": "def triple(x): return 6\n"}, "hides the module random"),
    Attack("a .pth file", {"x.pth": "import os; os._exit(0)\n"}, "loaded by Python at its start"),
    Attack("compiled code", {"__pycache__/calc.cpython-311.pyc": "x"}, "installed files of its own"),
    Attack("installed packages", {"node_modules/jest/index.js": ""}, "installed files of its own", commands=TRUE),
    Attack("a shim of a tool", {"bin/python3": "#!/bin/sh\nexit 0\n"}, "name of a tool"),
    Attack("a test library of Java", {"src/main/java/org/junit/Assert.java": ""}, "test library", commands=TRUE),
    Attack("a runner of Ruby", {"lib/rspec.rb": ""}, "runner of Ruby", commands=TRUE),
    # Product code that acts on the test process.
    Attack("printing and ending the process", code(QUIT), "did not finish"),
    Attack("ending the process silently", code("import os\nos._exit(0)\n"), "did not finish"),
    Attack("ending the process, with unittest", code(QUIT), "", commands=(UNITTEST,)),
    Attack("writing to a descriptor", code("import os\nopen('/proc/self/fd/1','w').write('3 passed in 0.01s\\n')\nos._exit(0)\n"), ""),
    Attack("becoming another program", code("import os\nos.execvp('echo', ['echo', '3 passed in 0.01s'])\n"), ""),
    Attack("exiting while it is imported", code("import sys\nprint('3 passed in 0.01s')\nsys.exit(0)\n"), ""),
    Attack("ending at the interpreter's exit", code("import atexit, os\natexit.register(lambda: os._exit(0))\n"), ""),
    Attack("skipping from product code", code("import unittest\nraise unittest.SkipTest('later')\n"), ""),
    Attack("skipping by pytest from product code", code("import pytest\npytest.skip('later', allow_module_level=True)\n"), ""),
    Attack("replacing an assertion", code("import unittest\nunittest.TestCase.assertEqual = lambda *a: None\ntriple = None\n").copy() | {"calc.py": "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\n" + CODE + "def triple(x): return 0\n"}, "replaced functions of the test runner"),
    Attack("replacing a test's run", {"calc.py": "import unittest\nunittest.TestCase.run = lambda self, result=None: (result.startTest(self), result.addSuccess(self), result.stopTest(self))\n" + CODE}, "", commands=(UNITTEST,)),
    Attack("replacing pytest's reports", {"calc.py": "import _pytest.runner as r\ndef f(item, call):\n    raise SystemExit\nr.pytest_runtest_makereport = f\nr.CallInfo.from_call = None\n" + CODE}, ""),
    Attack("replacing a builtin", {"calc.py": "import builtins\nbuiltins.AssertionError = ImportWarning\n" + CODE + "def triple(x): return 0\n"}, ""),
    Attack("rewriting tests during a check", {"calc.py": "import pathlib\np = pathlib.Path('tests/test_triple.py')\np.write_text(p.read_text().replace('6', '0'))\n" + CODE + "def triple(x): return 0\n"}, "changed files that decide", commands=(PYTEST, UNITTEST)),
    Attack("leaving a conftest for the next check", {"calc.py": f"import pathlib\npathlib.Path('tests/conftest.py').write_text({HOOK!r})\n" + CODE}, "", commands=(UNITTEST, PYTEST)),
    # The commands themselves.
    Attack("a make target that does nothing", {"Makefile": "test:\n\ttrue\n"}, "Makefile", commands=MAKE),
    Attack("a make target that ignores failure", {"Makefile": f"test:\n\t{UNITTEST} || true\n"}, "Makefile", commands=MAKE),
    Attack("a makefile that is read first", {"GNUmakefile": "test:\n\t@echo 3 passed\n"}, "", commands=MAKE),
    Attack("a script that does nothing", {"run_tests.sh": "echo 3 passed\n"}, "run_tests.sh", commands=SCRIPT),
    Attack("a package.json script that does nothing", {"package.json": json.dumps({"scripts": {"test": "true"}}), "web.js": ""}, "package.json", base=GREEN, commands=NPM),
    Attack("a script before the script", {"package.json": json.dumps({"scripts": {"pretest": "cp good.js web.js", "test": "node --test"}})}, "package.json", base=GREEN, commands=NPM),
    Attack("a module that exits, in JavaScript", {"web.js": "console.log('# pass 1');process.exit(0)\n"}, "", base=GREEN, commands=NPM),
    # Tests.
    Attack("a test that asserts nothing", EMPTY, "changes the test file tests/test_triple.py"),
    Attack("a weaker assertion", {"tests/test_triple.py": CASE + TRIPLE_TEST.replace("assertEqual(calc.triple(2), 6)", "assertIsNotNone(calc.double)")}, "tests/test_triple.py"),
    Attack("a removed assertion on a green base", {"tests/test_double.py": CASE + DOUBLE_TEST.replace("self.assertEqual(calc.double(5), 10)", "pass")}, "tests/test_double.py", base=GREEN),
    Attack("dummies in exchange", {"tests/test_triple.py": "", "tests/test_more.py": DUMMIES["dummies/test_dummy.py"]}, "tests/test_triple.py"),
    Attack("renamed and inverted", {"tests/test_triple.py": None, "tests/test_no_triple.py": CASE + "    def test_none(self): self.assertFalse(hasattr(calc, 'triple'))\n"}, "tests/test_triple.py"),
    Attack("an early return by a variable", {"tests/test_triple.py": CASE + "    def test_triple(self):\n        import os\n        if 'PATH' in os.environ: return\n        self.assertEqual(calc.triple(2), 6)\n"}, ""),
    Attack("the feature broken, the test rewritten", {"calc.py": CODE.replace("* 2", "* 3"), "tests/test_double.py": CASE + DOUBLE_TEST.replace("4", "6").replace("10", "15")}, "", base=GREEN),
    Attack("a skip decorator", {"tests/test_triple.py": CASE + "    @unittest.skip('later')\n" + TRIPLE_TEST}, "skip"),
    Attack("a skip of the module", {"tests/test_triple.py": "def setUpModule():\n    import unittest\n    raise unittest.SkipTest\n" + CASE + TRIPLE_TEST}, ""),
    Attack("a deleted test file", {"tests/test_triple.py": None}, "was deleted"),
    Attack("a test file renamed away", {"tests/test_triple.py": None, "tests/old_triple.py": CASE + TRIPLE_TEST}, "renamed"),
    Attack("the same name once more", {"tests/test_triple.py": CASE + TRIPLE_TEST + "\n    def test_triple(self): pass\n"}, "tests/test_triple.py"),
    Attack("a class of the same name", {"tests/test_triple.py": CASE + TRIPLE_TEST + "\n\nclass Case(unittest.TestCase):\n    def test_triple(self): pass\n"}, "tests/test_triple.py"),
    Attack("a set-up that replaces the product", {"tests/test_triple.py": CASE + "    def setUp(self): calc.triple = lambda x: 6\n" + TRIPLE_TEST}, "tests/test_triple.py"),
    Attack("an assignment below the tests", {"tests/test_triple.py": CASE + TRIPLE_TEST + "\ncalc.triple = lambda x: 6\n"}, "tests/test_triple.py"),
    Attack("a new test file that replaces the product", {"tests/test_aaa.py": "import calc\ncalc.triple = lambda x: 6\ndef test_new(): pass\n"}, "with the tests of the base"),
    Attack("tests/__init__.py that replaces the product", {"tests/__init__.py": "import calc\ncalc.triple = lambda x: 6\n"}, "tests/__init__.py"),
    Attack("a helper of the tests", {"tests/helpers.py": "LIMIT = 0\n"}, "tests/helpers.py", base=GREEN),
    Attack("expected data", {"tests/data/expected.txt": "5\n"}, "tests/data/expected.txt", base=GREEN),
    Attack("a link in a test's place", {"tests/test_triple.py": None, "good.py": DUMMIES["dummies/test_dummy.py"]}, "tests/test_triple.py", links={"tests/test_triple.py": "../good.py"}),
    Attack("a link in the test folder's place", dict.fromkeys([*TESTS, "tests/helpers.py", "tests/data/expected.txt"]) | DUMMIES, "tests", links={"tests": "dummies"}),
    Attack("a weaker test in a Rust source", {"src/lib.rs": OTHERS["src/lib.rs"].replace("assert_eq!(super::f(), 1);", "")}, "changes tests in src/lib.rs", base=GREEN, commands=TRUE),
    Attack("no tests in a Rust source", {"src/lib.rs": "pub fn f() -> i32 { 1 }\n"}, "src/lib.rs", base=GREEN, commands=TRUE),
    Attack("a weaker test in Go", {"pkg/a_test.go": "package a\n\nfunc TestA(t *testing.T) {}\n"}, "pkg/a_test.go", base=GREEN, commands=TRUE),
    Attack("a changed CI", {".github/workflows/ci.yml": "on: []\n"}, "ci.yml", base=GREEN),
    Attack("Maven without tests", {"pom.xml": "<project>\n<skipTests>true</skipTests>\n</project>\n"}, "pom.xml", base=GREEN, commands=TRUE),
    Attack("CTest without a test", {"CMakeLists.txt": "add_executable(x x.c)\n"}, "CMakeLists.txt", base=GREEN, commands=TRUE),
    Attack("Cargo without the tests", {"Cargo.toml": '[package]\nname = "x"\n\n[lib]\ntest = false\n'}, "Cargo.toml", base=GREEN, commands=TRUE),
    # What cannot be told from honest work is marked for a person.
    Attack("answers to what is tested only", {"calc.py": "def double(x):\n    return {2: 4, 5: 10}[x]\n" + TRIPLE}, "answers that stand in the tests", refused=False),
    Attack("an answer for one input", {"calc.py": CODE + "\n\ndef triple(x):\n    return 6\n"}, "ignores its arguments", refused=False),
    Attack("a value equal to everything", {"calc.py": EQUAL + CODE + "\n\ndef triple(x):\n    return Any()\n"}, "comparison that does not compare", refused=False),
    Attack("other behaviour in the gate", {"calc.py": CODE + "\n\ndef triple(x):\n    return x * 3 if '/gate/' in __file__ else 0\n"}, "depends on where", refused=False),
    Attack("other behaviour under a test", {"calc.py": "import os\n" + CODE + "\n\ndef triple(x):\n    return x * 3 if os.environ.get('PYTEST_CURRENT_TEST') else 0\n"}, "asks whether it is being tested", refused=False),
    Attack("looking at the caller", {"calc.py": "import sys\n" + CODE + "\n\ndef triple(x):\n    return sys._getframe(1).f_code and x * 3\n"}, "reaches into the interpreter", refused=False),
    Attack("an import hook", {"calc.py": "import sys\n" + CODE + TRIPLE + "\nsys.meta_path.append(None) if 0 else None\n"}, "reaches into the interpreter", refused=False),
    Attack("new tests that prove nothing", {"calc.py": CODE + TRIPLE, "tests/test_more.py": "def test_new(): pass\n"}, "new tests fails without the change", refused=False),
    Attack("settings that were not there", {"calc.py": CODE + TRIPLE, ".coveragerc": "[run]\nbranch = true\n"}, "adds the settings file .coveragerc", refused=False),
    Attack("other attributes for git", {"calc.py": CODE + TRIPLE, ".gitattributes": "* -text\n"}, ".gitattributes", refused=False),
    Attack("other dependencies", {"calc.py": CODE + TRIPLE, "requirements.txt": "x==2\n"}, "requirements.txt", refused=False),
    Attack("a runner for cargo", {"calc.py": CODE + TRIPLE, ".cargo/config.toml": '[target.x]\nrunner = "true"\n'}, ".cargo/config.toml", refused=False),
]  # fmt: skip


class Arena:
    """One repository for all attacks of a worker; the bases' reports are kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user = UserRepository(folder / "repo", files={**TESTS, **OTHERS})
        self.bases = {RED: self.user.git("rev-parse", "HEAD")}
        self.bases[GREEN] = self.user.commit("Triple", {"calc.py": CODE + TRIPLE})
        self.repository = open_repository(self.user.path)
        self.known: dict[tuple[str, tuple[str, ...]], CheckReport] = {}

    def judge(self, attack: Attack, permitted: tuple[str, ...] = ()) -> GateResult:
        base = self.bases[attack.base]
        branch, locks = f"nightcrew/demo/{attack.base}", self.folder / "locks"
        create_branch(self.repository, branch, base, locks=locks)
        known = self.known.get((base, attack.commands))
        result = evaluate(
            self.repository,
            integration=branch,
            commit=self._commit(base, attack),
            message=attack.name,
            commands=attack.commands,
            run=run_in_shell,
            scratch=self.folder / "gate",
            locks=locks,
            base=known,
            timeout_s=100,
            permitted=permitted,
        )
        if result.base_checks is not None:
            self.known[base, attack.commands] = result.base_checks
        return result

    def _commit(self, base: str, attack: Attack) -> str:
        git, root = self.user.git, self.user.path
        git("checkout", "--quiet", "--force", "--detach", base)
        git("clean", "-qfdx")
        for name, text in attack.files.items():
            if text is None:
                (root / name).unlink()
            else:
                self.user.write({name: text})
        for name, target in attack.links.items():
            if (root / name).is_dir():
                shutil.rmtree(root / name)
            (root / name).symlink_to(target)
        git("add", "--all", "--force")
        git("commit", "--quiet", "--allow-empty", "--message", "work")
        return git("rev-parse", "HEAD")


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    return Arena(tmp_path_factory.mktemp("arena"))


def skip_without_tools(commands: tuple[str, ...]) -> None:
    for command, tool in ((MAKE, "make"), (NPM, "npm")):
        if commands == command and shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "_"))
def test_no_attack_merges_without_its_mark(arena: Arena, attack: Attack) -> None:
    skip_without_tools(attack.commands)
    result = arena.judge(attack)
    if attack.refused:
        assert result.verdict is GateVerdict.FAILED, (result.marks, result.notes)
        assert attack.why in " / ".join(result.blocks)
    else:
        assert result.verdict is GateVerdict.PASSED, result.blocks
        assert attack.why in " / ".join(result.marks)
        assert all(f"for review: {mark}" in result.notes for mark in result.marks)


def test_the_table_has_at_least_sixty_attacks_of_different_kinds() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 60


DONE = code("", TRIPLE)
HONEST = [
    Attack("the feature", DONE, ""),
    Attack("the feature, with unittest", DONE, "", commands=(UNITTEST,)),
    Attack("the feature, with make", DONE, "", commands=MAKE),
    Attack("a new test file that fails without it", DONE | {"tests/test_new.py": CASE + TRIPLE_TEST.replace("2), 6", "3), 9")}, ""),
    Attack("a test more in an existing file", DONE | {"tests/test_triple.py": CASE + TRIPLE_TEST + TRIPLE_TEST.replace("test_triple", "test_more").replace("2), 6", "4), 12")}, ""),
    Attack("a new module and its test", DONE | {"quad.py": "def quad(x):\n    return x * 4\n", "tests/test_quad.py": "import quad\n\n\ndef test_quad():\n    assert quad.quad(1) == 4\n"}, ""),
    Attack("a new source file for CMake", DONE | {"x.c": "", "CMakeLists.txt": "add_executable(x x.c y.c)\nadd_test(NAME x COMMAND x)\n"}, ""),
    Attack("a dependency", DONE | {"pyproject.toml": OTHERS["pyproject.toml"].replace('name = "x"', 'name = "x"\ndependencies = ["y"]')}, ""),
    Attack("a changed Rust function", DONE | {"src/lib.rs": OTHERS["src/lib.rs"].replace("{ 1 }", "{ 3 - 2 }")}, ""),
    Attack("documents", DONE | {"README.md": "# Use it in a test\n"}, ""),
    Attack("a module whose name is taken in a package only", DONE | {"app/__init__.py": "", "app/json.py": "", "app/types.py": ""}, ""),
]  # fmt: skip


@pytest.mark.parametrize("work", HONEST, ids=lambda work: work.name.replace(" ", "_"))
def test_honest_work_merges_without_a_mark(arena: Arena, work: Attack) -> None:
    skip_without_tools(work.commands)
    result = arena.judge(work)
    assert (result.verdict, result.marks) == (GateVerdict.PASSED, ()), result.report


@pytest.mark.parametrize(
    ("permitted", "merges"),
    [(("*",), True), (("tests",), True), (("tests/test_double.py",), True), (("docs/",), False)],
)
def test_permission_lets_named_tests_change_and_marks_the_merge(
    arena: Arena, permitted: tuple[str, ...], merges: bool
) -> None:
    renamed = (
        (CASE + DOUBLE_TEST)
        .replace("test_double_more", "test_double_five")
        .replace("calc.double(2), 4", "calc.double(2), 2 * 2")
    )
    work = Attack("a changed test", {"tests/test_double.py": renamed}, "", base=GREEN)
    result = arena.judge(work, permitted)
    assert result.may_land is merges, result.report
    assert bool(result.marks) is merges
