"""Reads test results from files that the runners write, instead of from what they print.

`recorders/` holds plugins in the runners' own languages. `prepare` puts their variables before a check's
command, so that pytest, unittest, jest, vitest, mocha and `node --test` load them; `folder` makes the folder
they write to and reads it back; `recorded` verifies one such file; `junit` reads the XML that Maven, Gradle,
Meson and others always leave; `outcomes` is the value they all return. May import nothing else of ours.
The one thing to know: a file without its end mark means that the runner did not finish, whatever was printed.
A program that runs inside the test process can still forge a file if it knows all this; `replaced` and the
comparison with the base make that visible, not impossible.
"""
