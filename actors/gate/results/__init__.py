"""Reads test results from files that the runners write, instead of from what they print.

`recorders/` holds plugins for test runners. `prepare` sets environment variables for a check's command, so that
pytest, unittest, jest, vitest, mocha and `node --test` load their plugin. `folder` creates the folder that the
plugins write to and reads their files. `recorded` verifies one such file. `junit` reads the XML reports that Maven,
Gradle, Meson and others write by default. `outcomes` defines the value that all of them return.
May import nothing else of the project except `actors.gate.counts`.
The one thing to know: a file without its end mark means that the runner did not finish, whatever was printed.
A program that runs inside the test process can still forge a file if it knows the format. `TestOutcomes.replaced`
and the comparison with the results before the merge make that visible, but not impossible.
"""
