"""Slugs: project names that git, tmux and agents can carry."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.shared.ref_names import integration_branch, stable_tag, task_branch, task_label
from supervisor.project_spec.slug import MAX_LENGTH, RESERVED, project_slug


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


@pytest.mark.parametrize(
    "name",
    ["a..b.lock", "HEAD", "@{-1}", "-x-", "é" * 100, "Übergröße: Straße", "a..b/../c", "x.lock", "~^:?*[\\"],
)
def test_git_takes_the_names_made_of_the_slug(name: str) -> None:
    project = project_slug(name)
    for ref in (integration_branch(project), task_branch(project, 1), stable_tag(project, 1, task_label(1))):
        subprocess.run(["git", "check-ref-format", "--branch", ref], capture_output=True, check=True)
