"""The tool calls of a reply: those that the server parsed, and those that the model wrote into its text.

    calls       the calls that may run, and what to report to the model about the others
    leaks       finds calls in the text: Qwen3-Coder's XML and JSON, complete or damaged
    coercion    checks the arguments of a call and converts them to the declared types

May import `actors.model.protocol` only. The one thing to know: everything here is pure and never raises on any
text. If in doubt a call does not run, and the model is told why.
"""
