"""Records what unittest's own runner ran. `sitecustomize` installs it when unittest is imported."""

import re

import nightcrew_recorder

_FIXTURE = re.compile(r"(?:setUp|tearDown)(?:Class|Module) \((.+)\)$")


def install(module):
    """Let `TextTestRunner.run` of this module record what it runs."""
    run = module.TextTestRunner.run

    def recorded(self, test):
        recorder = nightcrew_recorder.Recorder.start("unittest")
        if recorder is None:
            return run(self, test)
        planned = list(_ids(test))
        make = self._makeResult
        self._makeResult = lambda: _watched(make(), recorder)
        result = run(self, test)
        _settle(recorder, planned)
        recorder.finish()
        return result

    module.TextTestRunner.run = recorded
    nightcrew_recorder.Recorder.guard()


def _ids(test):
    if hasattr(test, "__iter__"):
        for one in test:
            yield from _ids(one)
    elif hasattr(test, "id"):
        yield test.id()


def _watched(result, recorder):
    """The result object, with each method that takes an outcome recording it as well."""
    outcomes = {
        "addSuccess": "passed", "addFailure": "failed", "addError": "error", "addSkip": "skipped",
        "addExpectedFailure": "skipped", "addUnexpectedSuccess": "failed",
    }  # fmt: skip
    for name, outcome in outcomes.items():
        setattr(result, name, _recording(getattr(result, name), recorder, outcome))
    add_subtest = getattr(result, "addSubTest", None)
    if add_subtest is not None:

        def recorded(test, subtest, error):
            if error is not None:
                recorder.add(test.id(), "failed")
            return add_subtest(test, subtest, error)

        result.addSubTest = recorded
    return result


def _recording(method, recorder, outcome):
    def recorded(test, *args, **kwargs):
        # A subtest that is skipped has the description of its test behind the name.
        recorder.add(getattr(test, "test_case", test).id(), outcome)
        return method(test, *args, **kwargs)

    return recorded


def _settle(recorder, planned):
    """Give tests that never began the outcome of their class's or module's set-up."""
    for name in [name for name in recorder.tests if _FIXTURE.match(name)]:
        scope = _FIXTURE.match(name).group(1) + "."
        outcome = recorder.tests[name]
        for test in planned:
            if test.startswith(scope) and test not in recorder.tests:
                recorder.add(test, outcome)
                recorder.tests.pop(name, None)
    for test in planned:
        recorder.tests.setdefault(test, "error")
