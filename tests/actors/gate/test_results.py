"""Result files: what real runners leave, and files that are forged, cut, or made to harm the reader."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from actors.gate.checks import CheckReport, CheckResult, report_from_json, run_checks
from actors.gate.results.folder import ResultFolder
from actors.gate.results.junit import read_junit
from actors.gate.results.recorded import read_recorded
from tests.actors.git.user_repository import run_in_shell, write

PYTEST = f"{sys.executable} -m pytest -q -p no:cacheprovider"
UNITTEST = f"{sys.executable} -m unittest discover"
ALL_OUTCOMES = (
    "import pytest, unittest\ndef test_ok(): pass\ndef test_bad(): assert 0\n"
    "@pytest.mark.skip\ndef test_skip(): pass\n@pytest.mark.xfail\ndef test_x(): assert 0\n"
    "@pytest.fixture\ndef broken(): raise OSError\ndef test_error(broken): pass\n"
    "class C(unittest.TestCase):\n    def test_subtests(self):\n        for i in range(3):\n"
    "            with self.subTest(i=i): self.assertEqual(i, 1)\n"
)
CASES = (
    "import unittest\nclass C(unittest.TestCase):\n    def test_ok(self): pass\n    def test_bad(self): self.fail()\n"
    "    def test_subtests(self):\n        for i in range(3):\n            with self.subTest(i=i): "
    "self.assertEqual(i, 1)\n    @unittest.skip('x')\n    def test_skip(self): pass\n"
    "class Unset(unittest.TestCase):\n    @classmethod\n    def setUpClass(cls): raise OSError\n"
    "    def test_never(self): pass\n"
)


def check(folder: Path, command: str) -> CheckResult:
    (result,) = run_checks(folder, (command,), run_in_shell).results
    assert not list(folder.glob(".nightcrew-results-*")), "nothing of it stays"
    return result


def outcomes(result: CheckResult) -> dict[str, str]:
    assert result.recorded is not None, result.output
    return dict(result.recorded.tests)


def test_pytest_records_every_outcome_by_its_id(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"test_all.py": ALL_OUTCOMES, "test_import.py": "import nowhere\n", "pytest.ini": "[pytest]\n"},
    )
    assert outcomes(check(tmp_path, PYTEST)) == {
        "test_all.py::test_ok": "passed",
        "test_all.py::test_bad": "failed",
        "test_all.py::test_skip": "skipped",
        "test_all.py::test_x": "skipped",
        "test_all.py::test_error": "error",
        "test_all.py::C::test_subtests": "failed",
        "test_import.py": "error",
    }


def test_unittest_records_every_outcome_by_its_id(tmp_path: Path) -> None:
    write(tmp_path, {"test_all.py": CASES, "test_import.py": "import nowhere\n"})
    assert outcomes(check(tmp_path, UNITTEST)) == {
        "test_all.C.test_ok": "passed",
        "test_all.C.test_bad": "failed",
        "test_all.C.test_subtests": "failed",
        "test_all.C.test_skip": "skipped",
        "test_all.Unset.test_never": "error",
        "unittest.loader._FailedTest.test_import": "error",
    }


def test_workers_of_pytest_xdist_report_to_one_file(tmp_path: Path) -> None:
    write(tmp_path, {"test_a.py": "def test_a(): pass\n", "test_b.py": "def test_b(): pass\n"})
    assert outcomes(check(tmp_path, f"{PYTEST} -n 2")) == {
        "test_a.py::test_a": "passed",
        "test_b.py::test_b": "passed",
    }


def test_runs_of_several_runners_in_one_command_add_up(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"test_all.py": CASES.replace("self.fail()", "pass"), "tests/test_b.py": "def test_b(): pass\n"},
    )
    result = check(tmp_path, f"{PYTEST} tests; {UNITTEST}")
    assert outcomes(result)["tests/test_b.py::test_b"] == "passed"
    assert outcomes(result)["test_all.C.test_ok"] == "passed"
    assert result.recorded is not None
    assert result.recorded.runners == ("pytest", "unittest")


@pytest.mark.parametrize(
    "command",
    [f"PYTHONPATH=src {PYTEST}", f"env PYTHONPATH=src {PYTEST}", f"export PYTHONPATH=src; {PYTEST}"],
)
def test_a_command_with_a_path_of_its_own_is_recorded_too(tmp_path: Path, command: str) -> None:
    write(tmp_path, {"test_a.py": "import lib\ndef test_a(): pass\n", "src/lib.py": ""})
    assert outcomes(check(tmp_path, command)) == {"test_a.py::test_a": "passed"}


def test_an_environment_that_can_not_load_the_recorder_is_judged_by_its_output(tmp_path: Path) -> None:
    write(tmp_path, {"test_a.py": "def test_a(): pass\n", "run.sh": f"env -u PYTHONPATH {PYTEST}\n"})
    result = check(tmp_path, "sh run.sh")
    assert (result.outcome, result.evidence) == ("passed", "output")


def test_pytest_that_the_tests_start_themselves_is_not_recorded(tmp_path: Path) -> None:
    inner = (
        "import os, subprocess, sys\ndef test_outer(tmp_path):\n"
        "    (tmp_path / 'test_in.py').write_text('def test_in(): 0/0')\n"
        "    assert 'nightcrew_pytest' not in os.environ.get('PYTEST_ADDOPTS', '')\n"
        "    subprocess.run([sys.executable, '-m', 'pytest', '-q'], cwd=tmp_path)\n"
    )
    write(tmp_path, {"test_out.py": inner})
    assert outcomes(check(tmp_path, PYTEST)) == {"test_out.py::test_outer": "passed"}


QUITS = {
    "os._exit": "import os\nprint('3 passed in 0.01s', flush=True)\nos._exit(0)\n",
    "a write to the output": "import os\nos.write(1, b'3 passed in 0.01s\\n')\nos._exit(0)\n",
    "its descriptors": "import os\nopen('/proc/self/fd/1', 'w').write('3 passed in 0.01s\\n')\nos._exit(0)\n",
    "another program": "import os\nos.execvp('echo', ['echo', '3 passed in 0.01s'])\n",
    "a file without a mark": (
        "import glob, os\nfor n in glob.glob('.nightcrew-results-*/*'):\n"
        '    open(n, \'a\').write(\'{"id": "t", "outcome": "passed"}\\n{"end": "00"}\\n\')\n'
        "print('3 passed in 0.01s', flush=True)\nos._exit(0)\n"
    ),
}


@pytest.mark.parametrize("body", QUITS.values(), ids=QUITS)
@pytest.mark.parametrize("command", [PYTEST, UNITTEST], ids=["pytest", "unittest"])
def test_a_process_that_ends_in_the_middle_is_no_pass(tmp_path: Path, command: str, body: str) -> None:
    case = f"import unittest\nclass C(unittest.TestCase):\n    def test_a(self):\n        exec({body!r})\n"
    write(tmp_path, {"test_a.py": case})
    result = check(tmp_path, command)
    assert result.outcome == "did_not_run", result
    assert "did not finish" in result.reason


@pytest.mark.parametrize("command", [PYTEST, UNITTEST], ids=["pytest", "unittest"])
def test_functions_that_decide_and_are_replaced_are_reported(tmp_path: Path, command: str) -> None:
    product = "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\n"
    case = "import one, unittest\nclass C(unittest.TestCase):\n    def test_a(self): self.assertEqual(1, 2)\n"
    write(tmp_path, {"one.py": product, "test_a.py": case})
    result = check(tmp_path, command)
    assert result.recorded is not None
    assert result.recorded.replaced == ("unittest.case.TestCase.assertEqual",)


def test_a_module_that_hides_an_installed_one_is_reported(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "hypothesis.py": "",
            "colorsys.py": "",
            "test_a.py": "import hypothesis, colorsys\ndef test(): pass\n",
        },
    )
    result = check(tmp_path, PYTEST)
    assert result.recorded is not None
    assert set(result.recorded.shadowing) == {"hypothesis", "colorsys"}


def test_a_plugin_that_a_setting_names_is_reported(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "setup.cfg": "[tool:pytest]\naddopts = -p helper.plug\n",
            "helper/plug.py": "",
            "helper/__init__.py": "",
        },
    )
    write(tmp_path, {"test_a.py": "def test(): pass\n"})
    result = check(tmp_path, PYTEST)
    assert result.recorded is not None
    assert result.recorded.settings == ("helper/__init__.py",)


def test_a_report_with_its_outcomes_survives_json(tmp_path: Path) -> None:
    write(tmp_path, {"test_all.py": ALL_OUTCOMES})
    report = CheckReport("c", (check(tmp_path, PYTEST),))
    assert report_from_json(json.loads(json.dumps(asdict(report)))) == report


NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_node_records_every_outcome_by_its_file_and_name(tmp_path: Path) -> None:
    body = (
        "const {test, describe} = require('node:test');\ntest('ok', () => {});\ntest('bad', () => { throw 1; });\n"
        "test('later', {skip: true}, () => {});\ndescribe('s', () => { test('in', () => {}); });\n"
    )
    write(tmp_path, {"a.test.js": body, "b.test.js": "require('./nowhere');\n"})
    write(tmp_path, {"package.json": json.dumps({"scripts": {"test": "node --test"}})})
    for command in ("node --test", "npm test"):
        assert outcomes(check(tmp_path, command)) == {
            "a.test.js > ok": "passed",
            "a.test.js > bad": "failed",
            "a.test.js > later": "skipped",
            "a.test.js > s > in": "passed",
            "b.test.js": "error",
        }


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_a_node_test_that_chooses_its_reporter_is_judged_by_its_output(tmp_path: Path) -> None:
    write(tmp_path, {"a.test.js": "require('node:test').test('ok', () => {});\n"})
    result = check(tmp_path, "node --test --test-reporter=dot")
    assert (result.outcome, result.evidence) == ("passed", "output")


def recorded(tests: str, key: str = "k") -> bytes:
    mark = hmac.new(key.encode(), tests.encode(), hashlib.sha256).hexdigest()
    return (tests + json.dumps({"end": mark}) + "\n").encode()


START = '{"runner": "pytest"}\n'
ONE = '{"id": "a", "outcome": "passed"}\n'


def test_only_a_file_with_its_mark_at_the_end_counts() -> None:
    good = recorded(START + ONE)
    assert dict(read_recorded(good, "k").tests) == {"a": "passed"}
    for bad in (
        b"",
        START.encode(),
        good[:-2] + b"x\n",
        good + ONE.encode(),
        good.replace(b"passed", b"failed"),
    ):
        found = read_recorded(bad, "k")
        assert found.unfinished
        assert not found.tests
    assert read_recorded(good, "other").unfinished == ("pytest",)


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000 + "\n",
        "\xff\n",
        "null\n",
        '{"id": [1], "outcome": "passed"}\n',
        '{"outcome": {}}\n',
        "\n",
    ],
)
def test_nonsense_between_the_lines_breaks_nothing(line: str) -> None:
    assert read_recorded(recorded(START + ONE + line), "k").tests["a"] == "passed"


JUNIT = (
    '<testsuites><testsuite><testcase classname="a.B" name="ok"/><testcase classname="a.B" name="ok"/>'
    '<testcase classname="a.B" name="bad"><failure message="x">y</failure></testcase>'
    '<testcase classname="a.B" name="err"><error/></testcase><testcase classname="a.B" name="no"><skipped/></testcase>'
    "</testsuite></testsuites>"
)


def test_junit_is_read() -> None:
    assert dict(read_junit(JUNIT.encode(), "maven").tests) == {
        "a.B.ok": "passed",
        "a.B.ok #2": "passed",
        "a.B.bad": "failed",
        "a.B.err": "error",
        "a.B.no": "skipped",
    }


def test_trx_is_read() -> None:
    trx = (
        '<TestRun xmlns="x"><Results><UnitTestResult testName="A.ok" outcome="Passed"/>'
        '<UnitTestResult testName="A.bad" outcome="Failed"/></Results></TestRun>'
    )
    assert dict(read_junit(trx.encode(), "dotnet").tests) == {"A.ok": "passed", "A.bad": "failed"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<testsuite>",
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><testsuite name="&b;"/>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuite/>',
        "<a>" * 1_000,
    ],
)
def test_xml_that_is_cut_or_meant_to_harm_is_unfinished(text: str) -> None:
    assert read_junit(text.encode(), "maven").unfinished == ("maven",)


def test_reports_of_an_earlier_run_are_not_read(tmp_path: Path) -> None:
    name = "target/surefire-reports/TEST-a.xml"
    write(tmp_path, {"pom.xml": "", name: JUNIT})
    result = check(tmp_path, "true")
    assert result.recorded is None
    result = check(tmp_path, f"sleep 0.01; echo '{JUNIT}' > {name}; false")
    assert len(outcomes(result)) == 5


def test_links_devices_and_folders_in_the_result_folder_are_harmless(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path)
    folder.make()
    inside = tmp_path / folder.name
    os.mkfifo(inside / "a.jsonl")
    (inside / "b.jsonl").symlink_to("/dev/zero")
    (inside / "c.jsonl").mkdir()
    assert folder.read().unfinished == ("unknown",)
    folder.remove()
    assert [path.name for path in inside.iterdir()] == ["c.jsonl"]
