"""Malformed and unusual outputs of Qwen3-Coder and similar models, with the calls expected from each.

The shapes are from public bug reports about calls in the text; names and contents fit the tools below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.model.protocol import Parameter, ToolCall, ToolSpec

SHELL = ToolSpec(
    "shell",
    "Runs a command.",
    (
        Parameter("command", "string", "The command."),
        Parameter("timeout_s", "integer", "Seconds.", required=False),
    ),
)
READ = ToolSpec(
    "read_file",
    "Reads a file.",
    (
        Parameter("path", "string", "The path."),
        Parameter("start_line", "integer", "First line.", required=False),
        Parameter("whole", "boolean", "All of it.", required=False),
    ),
)
WRITE = ToolSpec(
    "write_file",
    "Writes a file.",
    (Parameter("path", "string", "The path."), Parameter("content", "string", "The content.")),
)
SCHEDULE = ToolSpec(
    "schedule_check_in",
    "Wakes you up.",
    (Parameter("minutes", "number", "Minutes."), Parameter("note", "string", "Note.")),
)
STATUS = ToolSpec("crew_status", "Shows the crew.")
TOOLS = (SHELL, READ, WRITE, SCHEDULE, STATUS)


@dataclass(frozen=True)
class Case:
    """`calls` are (tool, arguments); `problem` is a part of the only problem; `text` is what is left."""

    name: str
    content: str
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    problem: str | None = None
    text: str | None = None
    parsed: tuple[ToolCall, ...] = ()
    done_reason: str = "stop"


def _xml(tool: str, **arguments: str) -> str:
    rows = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in arguments.items())
    return f"<function={tool}>\n{rows}</function>"


LS = ("shell", {"command": "ls -la"})
LS_XML = _xml("shell", command="ls -la")
LS_JSON = '{"name": "shell", "arguments": {"command": "ls -la"}}'
README = ("read_file", {"path": "README.md"})
README_XML = _xml("read_file", path="README.md")

XML = (
    Case("whole call with tags", f"<tool_call>\n{LS_XML}\n</tool_call>", (LS,), text=""),
    Case("opener missing", f"{LS_XML}\n</tool_call>", (LS,), text=""),
    Case("both tags missing", LS_XML, (LS,), text=""),
    Case("closer missing", f"<tool_call>\n{LS_XML}", (LS,), text=""),
    Case("prose, then the call", f"I list it.\n\n{LS_XML}\n</tool_call>", (LS,), text="I list it."),
    Case("tag behind prose on its line", f"I list it.<tool_call>\n{LS_XML}\n</tool_call>", (LS,)),
    Case("call behind a colon on its line", f"Let me look: {LS_XML}", (LS,), text="Let me look:"),
    Case("end of turn token leaked too", f"{LS_XML}\n</tool_call><|im_end|>", (LS,)),
    Case("stray closer in front", f"</tool_call>\n{LS_XML}\n</tool_call>", (LS,), text=""),
    Case("all on one line", "<function=shell><parameter=command>ls -la</parameter></function>", (LS,)),
    Case(
        "value on the tag's line",
        "<function=shell>\n<parameter=command>ls -la</parameter>\n</function>",
        (LS,),
    ),
    Case(
        "no line break before the closing tag",
        "<function=shell>\n<parameter=command>\nls -la</parameter>\n</function>",
        (LS,),
    ),
    Case(
        "attribute style",
        '<function name="shell"><parameter name="command">ls -la</parameter></function>',
        (LS,),
    ),
    Case(
        "quoted names", '<function="shell">\n<parameter="command">\nls -la\n</parameter>\n</function>', (LS,)
    ),
    Case(
        "indented",
        "  <tool_call>\n    <function=shell>\n    <parameter=command>ls -la</parameter>\n    </function>",
        (LS,),
    ),
    Case(
        "function not closed",
        "<function=shell>\n<parameter=command>\nls -la\n</parameter>\n</tool_call>",
        (LS,),
    ),
    Case(
        "function and call not closed", "<function=shell>\n<parameter=command>\nls -la\n</parameter>", (LS,)
    ),
    Case(
        "parameter not closed before the function's end",
        "<function=shell>\n<parameter=command>\nls -la\n</function>",
        (LS,),
    ),
    Case(
        "parameter not closed before the call's end",
        "<function=shell>\n<parameter=command>\nls -la\n</tool_call>",
        (LS,),
    ),
    Case(
        "parameter not closed before the next",
        "<function=read_file>\n<parameter=path>\na.py\n<parameter=start_line>\n7\n</parameter>\n</function>",
        (("read_file", {"path": "a.py", "start_line": 7}),),
    ),
    Case(
        "two calls, one block each",
        f"<tool_call>\n{LS_XML}\n</tool_call>\n<tool_call>\n{README_XML}\n</tool_call>",
        (LS, README),
    ),
    Case("two calls in one block", f"<tool_call>\n{LS_XML}\n{README_XML}\n</tool_call>", (LS, README)),
    Case("two calls without openers", f"{LS_XML}\n</tool_call>\n{README_XML}\n</tool_call>", (LS, README)),
    Case(
        "no parameters",
        "<tool_call>\n<function=crew_status>\n</function>\n</tool_call>",
        (("crew_status", {}),),
    ),
    Case("JSON body in the function tag", '<function=shell>\n{"command": "ls -la"}\n</function>', (LS,)),
    Case(
        "content keeps its blank lines and indentation",
        "<function=write_file>\n<parameter=path>\na.py\n</parameter>\n"
        "<parameter=content>\n\n    x = 1\n\n</parameter>\n</function>",
        (("write_file", {"path": "a.py", "content": "\n    x = 1\n"}),),
    ),
    Case(
        "content with fences",
        _xml("write_file", path="R.md", content="# R\n```sh\nls\n```\nend"),
        (("write_file", {"path": "R.md", "content": "# R\n```sh\nls\n```\nend"}),),
    ),
    Case(
        "content with a closing tag inside a line",
        _xml("write_file", path="t.py", content='s.replace("</parameter>", "")\nprint(s)'),
        (("write_file", {"path": "t.py", "content": 's.replace("</parameter>", "")\nprint(s)'}),),
    ),
    Case(
        "content with generics",
        _xml("write_file", path="a.ts", content="let a: Map<K=string> = f<T>(x);"),
        (("write_file", {"path": "a.ts", "content": "let a: Map<K=string> = f<T>(x);"}),),
    ),
    Case(
        "empty value",
        "<function=write_file><parameter=path>e</parameter><parameter=content></parameter></function>",
        (("write_file", {"path": "e", "content": ""}),),
    ),
    Case(
        "umlauts and quotes",
        _xml("shell", command="echo 'Größe' \"$HOME\" && true"),
        (("shell", {"command": "echo 'Größe' \"$HOME\" && true"}),),
    ),
)

JSON = (
    Case("bare", LS_JSON, (LS,), text=""),
    Case("bare behind prose", f"I list it.\n{LS_JSON}", (LS,), text="I list it."),
    Case("in tags", f"<tool_call>\n{LS_JSON}\n</tool_call>", (LS,)),
    Case("in tags, closer missing", f"<tool_call>\n{LS_JSON}", (LS,)),
    Case("opener missing, closer there", f"{LS_JSON}\n</tool_call>", (LS,)),
    Case("fenced, nothing else", f"```json\n{LS_JSON}\n```", (LS,), text=""),
    Case("fenced without a language", f"```\n{LS_JSON}\n```\n", (LS,)),
    Case("fence not closed", f"```json\n{LS_JSON}", (LS,)),
    Case("two fences, nothing else", f"```json\n{LS_JSON}\n```\n\n```json\n{LS_JSON}\n```", (LS, LS)),
    Case("XML in a fence, nothing else", f"```xml\n<tool_call>\n{LS_XML}\n</tool_call>\n```", (LS,)),
    Case("several in a row", f"{LS_JSON}\n{LS_JSON}", (LS, LS)),
    Case("a list", f"[{LS_JSON}, {LS_JSON}]", (LS, LS)),
    Case("tool_calls wrapper", f'{{"tool_calls": [{LS_JSON}]}}', (LS,)),
    Case("OpenAI shape", f'{{"type": "function", "function": {LS_JSON}}}', (LS,)),
    Case("parameters for arguments", '{"name": "shell", "parameters": {"command": "ls -la"}}', (LS,)),
    Case("arguments as JSON text", '{"name": "shell", "arguments": "{\\"command\\": \\"ls -la\\"}"}', (LS,)),
    Case(
        "over several lines",
        '{\n  "name": "shell",\n  "arguments": {\n    "command": "ls -la"\n  }\n}',
        (LS,),
    ),
    Case("comma too many", '{"name": "shell", "arguments": {"command": "ls -la",},}', (LS,)),
    Case("last bracket missing", '{"name": "shell", "arguments": {"command": "ls -la"}', (LS,)),
    Case(
        "bare line breaks in a string",
        '{"name": "write_file", "arguments": {"path": "a", "content": "1\n2"}}',
        (("write_file", {"path": "a", "content": "1\n2"}),),
    ),
    Case(
        "comma before a bracket inside a string survives the repair",
        '{"name": "shell", "arguments": {"command": "echo [1,]",}}',
        (("shell", {"command": "echo [1,]"}),),
    ),
)

TALK = (
    Case("prose only", "All tests pass. I am done.", text="All tests pass. I am done."),
    Case("empty", ""),
    Case("mention in backticks", "Use `<function=shell>` to list files."),
    Case("mention in a sentence", "Then I call shell with command ls -la."),
    Case("unknown function in prose", "Define it so:\n<function=frobnicate>\nand go on with the work."),
    Case(
        "fenced example in prose",
        f"You can call it like this:\n```xml\n{LS_XML}\n```\nThat lists files.",
        problem="code block",
    ),
    Case("fenced example at the end", f"For example:\n```json\n{LS_JSON}\n```", problem="code block"),
    Case(
        "fenced call of an unknown tool",
        '```json\n{"name": "deploy", "arguments": {"to": "prod"}}\n```\nThat is the format.',
    ),
    Case("call with prose behind", f"{LS_XML}\nThis shows the files.", problem="text behind it"),
    Case(
        "call with a result made up",
        f"{LS_XML}\n</tool_call>\n<tool_response>\na.py\n</tool_response>",
        problem="text behind it",
    ),
    Case("prose between two calls", f"{LS_XML}\nand then\n{README_XML}", problem="text behind it"),
    Case("a package.json", '{"name": "shell", "version": "1.0.0", "arguments": {}}'),
    Case("JSON without arguments", '{"name": "shell"}'),
    Case("Python call", 'shell(command="rm -rf build")'),
    Case("ReAct style", 'Action: shell\nAction Input: {"command": "ls"}'),
    Case("JSON in the middle of a sentence", f"I would send {LS_JSON} to list them."),
    Case("quoted call", f"> {LS_JSON}"),
    Case(
        "Python code with a dictionary", 'x = {\n"name": "shell", "arguments": {"command": "ls"}}\nprint(x)'
    ),
    Case(
        "source code in a fence", '```python\ncall = {"name": "shell", "arguments": {"command": "ls"}}\n```'
    ),
)

BROKEN = (
    Case("unknown tool", _xml("list_files", path="."), problem="There is no tool 'list_files'"),
    Case(
        "unknown tool in JSON",
        '{"name": "bash", "arguments": {"command": "ls"}}',
        problem="The tools are: shell",
    ),
    Case("nearly the name", _xml("readfile", path="a"), problem="Did you mean read_file?"),
    Case(
        "required argument missing",
        _xml("write_file", path="a.py"),
        problem="required argument missing: content",
    ),
    Case("wrong argument name", _xml("read_file", file_path="a.py"), problem="You gave file_path"),
    Case(
        "cut in a value",
        "<function=write_file>\n<parameter=path>\na.py\n</parameter>\n<parameter=content>\nimport os\nde",
        problem="cut off",
    ),
    Case("cut by the token limit", f"{LS_XML}", problem="cut off", done_reason="length"),
    Case("cut JSON", '{"name": "shell", "arguments": {"command": "ls -', problem="no valid JSON"),
    Case(
        "single quotes",
        "<tool_call>\n{'name': 'shell', 'arguments': {'command': 'ls'}}\n</tool_call>",
        problem="cannot be read",
    ),
    Case("lone opener", "<tool_call>", problem="cannot be read"),
    Case("opener and nothing behind", "I will look.\n<tool_call>\n", problem="cannot be read"),
    Case(
        "argument twice",
        "<function=shell><parameter=command>a</parameter><parameter=command>b</parameter></function>",
        problem="given twice",
    ),
    Case(
        "no number where one is due",
        _xml("read_file", path="a", start_line="ten"),
        problem="start_line must be an integer",
    ),
    Case("JSON body broken", "<function=shell>\n{command: ls}\n</function>", problem="no valid JSON"),
    Case(
        "second of two is unknown",
        f"{LS_XML}\n{_xml('fly', to='moon')}",
        (LS,),
        problem="There is no tool 'fly'",
    ),
)

TYPES = (
    Case(
        "integer from text",
        _xml("shell", command="ls -la", timeout_s="5"),
        (("shell", {"command": "ls -la", "timeout_s": 5}),),
    ),
    Case(
        "integer from a whole float",
        '{"name": "shell", "arguments": {"command": "x", "timeout_s": 5.0}}',
        (("shell", {"command": "x", "timeout_s": 5}),),
    ),
    Case(
        "boolean from text",
        _xml("read_file", path="a", whole="True"),
        (("read_file", {"path": "a", "whole": True}),),
    ),
    Case(
        "number from text",
        _xml("schedule_check_in", minutes="2.5", note="n"),
        (("schedule_check_in", {"minutes": 2.5, "note": "n"}),),
    ),
    Case(
        "text from a number",
        '{"name": "schedule_check_in", "arguments": {"minutes": 5, "note": 7}}',
        (("schedule_check_in", {"minutes": 5, "note": "7"}),),
    ),
    Case("unknown argument left out", _xml("shell", command="ls -la", cwd="src"), (LS,)),
)

PARSED = (
    Case("parsed and well", "", (LS,), parsed=(ToolCall(*LS),)),
    Case(
        "None where text is due",
        "",
        problem="command must be a string, not null",
        parsed=(ToolCall("shell", {"command": None}),),
    ),
    Case(
        "None where nothing is due",
        "",
        (LS,),
        parsed=(ToolCall("shell", {"command": "ls -la", "timeout_s": None}),),
    ),
    Case(
        "an object where text is due",
        "",
        problem="not an object",
        parsed=(ToolCall("write_file", {"path": "a", "content": {"b": 1}}),),
    ),
    Case(
        "a list where text is due",
        "",
        problem="not a list",
        parsed=(ToolCall("shell", {"command": ["ls", "-la"]}),),
    ),
    Case(
        "arguments wrapped once more",
        "",
        (LS,),
        parsed=(ToolCall("shell", {"arguments": '{"command": "ls -la"}'}),),
    ),
    Case(
        "unknown tool passed through",
        "",
        problem="There is no tool 'bash'",
        parsed=(ToolCall("bash", {"command": "ls"}),),
    ),
    Case("leaked first, parsed second", f"{README_XML}\n</tool_call>", (README, LS), parsed=(ToolCall(*LS),)),
    Case(
        "the parsed call leaked as well",
        f"I list it.\n{LS_XML}\n</tool_call>",
        (LS,),
        text="I list it.",
        parsed=(ToolCall(*LS),),
    ),
    Case(
        "parsed call behind talk of another",
        f"Not this:\n```xml\n{README_XML}\n```",
        (LS,),
        parsed=(ToolCall(*LS),),
    ),
)

CASES = XML + JSON + TALK + BROKEN + TYPES + PARSED
