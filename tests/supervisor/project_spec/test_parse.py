"""What people write as a spec, and what is read from it."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.project_spec.parse import MAX_CHARS, parse_spec
from supervisor.project_spec.problems import is_vague
from supervisor.project_spec.spec import SpecError, example_spec

BASIC = """PROJECT: My Web App
GOAL: Add user authentication system
CONSTRAINTS:
- Use existing database schema
- Follow current code patterns\x20\x20
- Commit every 30 minutes

DELIVERABLES:
1. Login/logout endpoints
2. User session management
3. Protected route middleware
"""

SMALL = "GOAL: Add accounts\nDELIVERABLES:\n- Login\n"
LOGIN_LOGOUT = ("Login", "Logout")

FORMS = {
    "plain": "GOAL: Add accounts\nDELIVERABLES:\n1. Login\n2. Logout\n",
    "lower case": "goal: Add accounts\ndeliverables:\n- Login\n- Logout\n",
    "markdown headings": "# Shop\n## Goal\nAdd accounts\n\n## Deliverables\n- Login\n- Logout\n",
    "headings with values": "## Goal: Add accounts\n## Deliverables:\n* Login\n* Logout\n",
    "underlined headings": "Goal\n----\nAdd accounts\n\nDeliverables\n============\n+ Login\n+ Logout\n",
    "bold, colon inside": "**GOAL:** Add accounts\n**DELIVERABLES:**\n1) Login\n2) Logout\n",
    "bold, colon outside": "**Goal**: Add accounts\n\n**Deliverables**\n\n(1) Login\n(2) Logout\n",
    "numbered headings": "### **1. Goal**\nAdd accounts\n### **2. Deliverables**\na) Login\nb) Logout\n",
    "emoji headings": "## 🎯 Goal\nAdd accounts\n## 📦 Deliverables\n• Login\n• Logout\n",
    "lone capitals": "GOAL\nAdd accounts\n\nDELIVERABLES\n[ ] Login\n[ ] Logout\n",
    "a list of headings": "- Goal: Add accounts\n- Deliverables:\n  - Login\n  - Logout\n",
    "YAML": "---\ngoal: Add accounts\n---\ndeliverables:\n  - Login\n  - Logout\n",
    "no bullets": "GOAL:\nAdd accounts\nDELIVERABLES:\nLogin\nLogout\n",
    "Windows": "\ufeffGOAL:\r\n\tAdd accounts\r\nDELIVERABLES:\r\n\t1. Login\r\n\t2. Logout\r\n",
    "indented": "    GOAL: Add accounts\n    DELIVERABLES:\n    - [ ] Login\n    - [ ] Logout\n",
    "fenced whole": "```markdown\nGOAL: Add accounts\nDELIVERABLES:\n- Login\n- Logout\n```\n",
    "commented": "<!-- GOAL: none\n-->\nGOAL: Add accounts\nDELIVERABLES:\n- Login\n- Logout <!-- ? -->\n",
    "a fence never closed": "GOAL: Add accounts\n```\nDELIVERABLES:\n- Login\n- Logout\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_usual_form_gives_goal_and_deliverables(form: str) -> None:
    spec = parse_spec(FORMS[form], "shop")
    assert (spec.goal, spec.deliverables) == ("Add accounts", LOGIN_LOGOUT)


def test_the_promised_form_is_read_without_a_warning() -> None:
    spec = parse_spec(BASIC, "x")
    assert (spec.project, spec.slug) == ("My Web App", "my-web-app")
    assert spec.constraints[1] == "Follow current code patterns"
    assert len(spec.deliverables) == 3
    assert (spec.checks, spec.notes, spec.warnings) == ((), (), ())
    assert spec.raw == BASIC


@pytest.mark.parametrize("name", ["small", "web_app", "checkout"])
def test_packaged_example_is_a_whole_spec(name: str) -> None:
    spec = parse_spec(example_spec(name), "x")
    assert all([spec.constraints, spec.deliverables, spec.success_criteria, spec.checks])
    assert spec.warnings == ()


ITEMS = {
    "indented details stay with their item": (
        "1. Login\n   - with name\n   - with password\n2. Logout\n",
        ("Login\n- with name\n- with password", "Logout"),
    ),
    "dashes under numbers are details even without indentation": (
        "1. Login\n- with name\n2. Logout\n",
        ("Login\n- with name", "Logout"),
    ),
    "sub-headings with numbers are items": (
        "### 1. Login\nby name\n- and password\n### 2. Logout\n",
        ("Login\nby name\n- and password", "Logout"),
    ),
    "sub-headings above bullets name a group": (
        "### Server\n- Login\n### Page\n- Form\n",
        ("Server: Login", "Page: Form"),
    ),
    "plain titles above bullets name a group": (
        "Server:\n- Login\nPage:\n- Form\n",
        ("Server: Login", "Page: Form"),
    ),
    "paragraphs are items": (
        "Login by name\nand password\n\nLogout button\n",
        ("Login by name\nand password", "Logout button"),
    ),
    "code in an item is kept and is no heading": (
        "1. Login\n\n   ```\n   GOAL: x\n   ```\n2. Logout\n",
        ("Login\n\n```\nGOAL: x\n```", "Logout"),
    ),
    "a version is no number of an item": (
        "- 3.11 support\n- 3.12 support\n",
        ("3.11 support", "3.12 support"),
    ),
    "umlauts stay": ("- Größe prüfen\n- Maße ändern\n", ("Größe prüfen", "Maße ändern")),
}


@pytest.mark.parametrize("claim", ITEMS)
def test_of_deliverables(claim: str) -> None:
    text, expected = ITEMS[claim]
    assert parse_spec(f"## Goal\nAdd accounts\n## Deliverables\n{text}", "x").deliverables == expected


def test_checks_lose_bullets_prompts_backticks_and_comments_but_no_character_inside_a_fence() -> None:
    text = "GOAL: Add accounts\nDELIVERABLES: Login\nCHECKS:\n"
    text += "- `pytest -q`\n1. $ make \\\n   test\n# a comment\n\n"
    text += "```sh\n# one more\nnpm test\n[ -f x ] && echo `date`\n```\n"
    assert parse_spec(text, "x").checks == ("pytest -q", "make test", "npm test", "[ -f x ] && echo `date`")


def test_none_is_no_check_and_no_constraint() -> None:
    spec = parse_spec("GOAL: Add accounts\nDELIVERABLES: Login\nCHECKS: none\nCONSTRAINTS: None.\n", "x")
    assert (spec.checks, spec.constraints) == ((), ())


def test_other_sections_are_kept_as_notes() -> None:
    text = "GOAL: Add accounts\nOUT OF SCOPE: CSS\nDELIVERABLES:\n- Login\n\n## Background\nIt is old.\n"
    assert parse_spec(text, "x").notes == (("OUT OF SCOPE", "CSS"), ("Background", "It is old."))


def test_text_outside_of_items_and_ticked_items_give_warnings() -> None:
    spec = parse_spec("PROJECT: P\nGOAL: Add accounts\nDELIVERABLES:\n- [x] Login\n\nTake care.\n", "x")
    assert spec.deliverables == ("Login",)
    assert [warning[:6] for warning in spec.warnings] == ["in DEL", "marked"]


def test_refusal_names_all_that_is_missing_and_shows_an_example_that_parses() -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec("PROJECT: x\n", "x")
    assert len(caught.value.problems) == 2
    assert "GOAL is missing" in str(caught.value)
    assert "DELIVERABLES is missing" in str(caught.value)
    assert parse_spec(str(caught.value).split("copy from:")[1], "x").deliverables


REFUSED = {
    "": "empty",
    " \n\t\n": "empty",
    "a\0b": "binary",
    "Build me a shop, please": "GOAL is missing",
    "GOAL: make it better\nDELIVERABLES:\n- Login\n": "too vague",
    "GOAL: TODO\nDELIVERABLES:\n- Login\n": "too vague",
    "GOAL: Add accounts\nDELIVERABLES:\n- Login\n- <another>\n": "deliverable 2 is too vague",
    "GOAL: Add accounts\nDELIVERABLES: none\n": "DELIVERABLES is missing",
    "GOAL: Add accounts\nDELIVERABLES:\n- Login\n# Deliverables\n- Logout\n": "lines 2 and 4",
    "GOAL: Add accounts\nDELIVERABELS:\n- Login\n": "line 2 has 'DELIVERABELS'",
    "Gaol: Add accounts\nDELIVERABLES:\n- Login\n": "line 1 has 'Gaol'",
}


@pytest.mark.parametrize("text", REFUSED)
def test_unworkable_spec_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(SpecError, match=REFUSED[text]):
        parse_spec(text, "x")


@pytest.mark.parametrize(
    "goal", ["Fix the parser", "Speed up start-up", "Fix bug #12", "Refactor store.py", "改进解析器"]
)
def test_short_goal_that_names_something_is_not_vague(goal: str) -> None:
    assert not is_vague(goal)


@pytest.mark.parametrize("goal", ["Make it better", "Improve the code.", "Fix bugs", "???", "[goal]"])
def test_goal_that_names_nothing_is_vague(goal: str) -> None:
    assert is_vague(goal)


@settings(deadline=None)
@given(st.text(st.sampled_from("#*-_`~:.1)a \n\tG<!>[]x") | st.characters(), max_size=200))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        spec = parse_spec(f"GOAL: Add accounts\nDELIVERABLES:\n- Login\n{text}", "x")
    except SpecError:
        return
    assert spec.deliverables[0].startswith("Login")


def test_more_text_than_a_spec_may_have_is_refused_with_the_limit() -> None:
    with pytest.raises(SpecError, match=f"more than the {MAX_CHARS} allowed"):
        parse_spec(BASIC + "x" * MAX_CHARS, "x")


# Each of these took time that grew with the square of its length, or would in a parser of regular expressions.
LONG = {
    "fences that are never closed": "```py\n",
    "fences of changing length": "````\n~~~\n```x\n",
    "spaces inside a heading": (f"{SMALL}# a", " ", "b\n"),
    "hashes inside a heading": (f"{SMALL}## a", " #", "b\n"),
    "punctuation inside a line": (f"{SMALL}a", "!", "b\n"),
    "dots in a goal": ("DELIVERABLES: Login\nGOAL: ", ".", "a\n"),
    "brackets in a goal": ("DELIVERABLES: Login\nGOAL: a", "<", "a\n"),
    "comments that are never closed": "<!-- ",
    "comments": "<!-- -->\n",
    "bold text that is never closed": (f"{SMALL}**a", " **a", "\n"),
    "underlines": "a\n==\n",
    "deep indentation": (f"{SMALL}- a\n", "   ", "- b\n"),
    "bullets": "- ",
    "empty lines": "\n",
    "misspelt words": "Deliverabel: x\n",
}


@pytest.mark.parametrize("what", LONG)
def test_four_times_the_text_takes_about_four_times_as_long(what: str) -> None:
    shape = LONG[what]
    start, repeated, end = shape if isinstance(shape, tuple) else (SMALL, shape, "")

    def seconds(chars: int) -> float:
        text = start + repeated * (chars // len(repeated)) + end
        times = []
        for _ in range(3):
            began = time.process_time()
            with suppress(SpecError):
                parse_spec(text, "x")
            times.append(time.process_time() - began)
        return min(times)

    short, long = seconds(MAX_CHARS // 5), seconds(MAX_CHARS // 5 * 4)
    assert long < 10 * short + 0.05, "quadratic would be 16 times as long"


@pytest.mark.parametrize("heading", ["SETUP:", "## Setup", "**Set-up:**"])
def test_setup_is_a_list_of_commands_like_checks(heading: str) -> None:
    spec = parse_spec(
        f"{SMALL}CHECKS:\n- make test\n{heading}\n- `npm ci`\n# a comment\n$ make \\\n  assets\n", "shop"
    )
    assert (spec.checks, spec.setup) == (("make test",), ("npm ci", "make assets"))
