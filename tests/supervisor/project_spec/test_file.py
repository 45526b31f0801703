"""What people write as a spec, and what is read from it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.project_spec.file import SpecError, example_spec, is_vague, parse_spec, read_spec
from supervisor.project_spec.slug import MAX_LENGTH, RESERVED, project_slug

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
    "German": "ZIEL: Add accounts\nERGEBNISSE:\n- Login\n- Logout\n",
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


def test_loose_text_and_ticked_items_are_warned_of() -> None:
    spec = parse_spec("PROJECT: P\nGOAL: Add accounts\nDELIVERABLES:\n- [x] Login\n\nTake care.\n", "x")
    assert spec.deliverables == ("Login",)
    assert [warning[:6] for warning in spec.warnings] == ["in DEL", "ticked"]


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
    "GOAL: Add accounts\nDELIVERABELS:\n- Login\n": "line 2 says 'DELIVERABELS'",
    "Gaol: Add accounts\nDELIVERABLES:\n- Login\n": "line 1 says 'Gaol'",
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


@pytest.mark.parametrize(
    "goal", ["Make it better", "Improve the code.", "Fix bugs", "???", "[goal]", "Mach es besser"]
)
def test_goal_that_names_nothing_is_vague(goal: str) -> None:
    assert is_vague(goal)


def test_file_without_a_project_is_named_after_itself_or_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "Grüne Äpfel"
    folder.mkdir()
    for name, project in {"project_spec.md": "Grüne Äpfel", "accounts.md": "accounts"}.items():
        (folder / name).write_text(FORMS["plain"], encoding="utf-8")
        assert read_spec(folder / name).project == project


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_file_is_read_in_the_encodings_of_usual_editors(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "s.md"
    path.write_text("GOAL: Größe prüfen\nDELIVERABLES:\n- Maß\n", encoding=encoding)
    assert read_spec(path).goal == "Größe prüfen"


def test_unreadable_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "latin.md").write_bytes("GOAL: Größe\n".encode("latin1"))
    (tmp_path / "binary.md").write_bytes(b"\x89PNG\0\xff")
    (tmp_path / "huge.md").write_bytes(b"x" * 300_000)
    for name, reason in {
        "latin.md": "iconv",
        "binary.md": "binary",
        "huge.md": "300000 bytes",
        "absent.md": "there is no file",
        ".": "is a folder",
    }.items():
        with pytest.raises(SpecError, match=reason):
            read_spec(tmp_path / name)


@settings(deadline=None)
@given(st.text(st.sampled_from("#*-_`~:.1)a \n\tG<!>[]x") | st.characters(), max_size=200))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        spec = parse_spec(f"GOAL: Add accounts\nDELIVERABLES:\n- Login\n{text}", "x")
    except SpecError:
        return
    assert spec.deliverables[0].startswith("Login")


@settings(deadline=None)
@given(st.text(max_size=120))
def test_slug_is_fit_for_git_tmux_and_agent_names(name: str) -> None:
    slug = project_slug(name)
    assert slug == project_slug(name)
    assert 1 <= len(slug) <= MAX_LENGTH
    assert slug not in RESERVED
    assert slug[0].isalpha()
    assert all(part.isascii() and part.isalnum() and part == part.lower() for part in slug.split("-"))


def test_slug_of_known_names() -> None:
    names = {
        "Größe & Maß": "groesse-mass",
        "../../etc": "etc",
        "a..b.lock": "a-b-lock",
        "It's 3.11": "its-3-11",
    }
    assert {name: project_slug(name) for name in names} == names
    assert project_slug("3.11") == "project-3-11"
    assert project_slug("Orchestrator") == "project-orchestrator"
    assert project_slug("项目") != project_slug("项目二")


def test_git_takes_a_branch_of_the_slug() -> None:
    for name in ("a..b.lock", "HEAD", "@{-1}", "-x-", "é" * 100):
        ref = f"nightcrew/{project_slug(name)}/integration"
        subprocess.run(["git", "check-ref-format", "--branch", ref], capture_output=True, check=True)
