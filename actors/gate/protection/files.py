"""Which files decide about a change, for each ecosystem.

A pattern without a slash is the name of a file in any folder. One that ends with a slash is a folder at any
depth. Any other is a path from any folder on. `*` stands for any characters but a slash.

What happens to a changed file of each kind, when the candidate is checked with the tests of the base:

| kind     | with the base's tests                     | changed or deleted without permission       | added    |
|----------|-------------------------------------------|---------------------------------------------|----------|
| test     | the base's; a new one is left out         | blocks, unless it only gained tests         | allowed  |
| support  | the base's; a new one is left out         | blocks                                      | marked   |
| settings | the base's; a new one is left out         | blocks                                      | marked   |
| manifest | the base's test sections                  | blocks if a test section differs            | marked   |
| build    | the candidate's                           | blocks if a line about tests differs        | marked   |
| lock     | the base's                                | marked                                      | allowed  |
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath


class Kind(StrEnum):
    """What a file has to do with a verdict."""

    TEST = "test"
    SUPPORT = "support"
    SETTINGS = "settings"
    MANIFEST = "manifest"
    BUILD = "build"
    LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Rule:
    """The files of one kind in one ecosystem."""

    ecosystem: str
    kind: Kind
    patterns: tuple[str, ...]


def _rule(ecosystem: str, kind: Kind, patterns: str) -> Rule:
    return Rule(ecosystem, kind, tuple(patterns.split()))


# The first rule that fits decides, so what is more particular comes first.
TABLE: tuple[Rule, ...] = (
    _rule("python", Kind.SUPPORT, "conftest.py"),
    _rule("python", Kind.TEST, "test_*.py *_test.py tests.py test.py"),
    _rule("python", Kind.SETTINGS, "pytest.ini .pytest.ini pytest.toml .pytest.toml tox.ini tox.toml"),
    _rule("python", Kind.SETTINGS, "noxfile.py .coveragerc"),
    _rule("python", Kind.SETTINGS, ".python-version uv.toml hatch.toml runtests.py run_tests.py tasks.py"),
    _rule("python", Kind.SETTINGS, "dodo.py"),
    _rule("python", Kind.MANIFEST, "pyproject.toml setup.cfg"),
    _rule("python", Kind.BUILD, "setup.py"),
    _rule("python", Kind.LOCK, "poetry.lock uv.lock pdm.lock pylock*.toml Pipfile Pipfile.lock"),
    _rule("python", Kind.LOCK, "requirements*.txt constraints*.txt requirements/ environment.yml"),
    _rule("python", Kind.LOCK, "conda-lock.yml"),
    _rule("javascript", Kind.SUPPORT, "jest.setup.* jest-setup.* setupTests.* setup-tests.* vitest.setup.*"),
    _rule("javascript", Kind.SUPPORT, "test-setup.*"),
    _rule("javascript", Kind.TEST, "*.test.* *.spec.* *.cy.* *.e2e.* *.snap"),
    _rule("javascript", Kind.SETTINGS, "jest.config.* jest.preset.* vitest.config.* vitest.workspace.*"),
    _rule("javascript", Kind.SETTINGS, "vite.config.*"),
    _rule("javascript", Kind.SETTINGS, ".mocharc* ava.config.* karma.conf.* playwright.config.*"),
    _rule("javascript", Kind.SETTINGS, "cypress.config.* cypress.json"),
    _rule("javascript", Kind.SETTINGS, "babel.config.* .babelrc* .swcrc tsconfig*.json jasmine.json .taprc"),
    _rule("javascript", Kind.SETTINGS, ".c8rc* .nycrc*"),
    _rule("javascript", Kind.SETTINGS, ".npmrc .yarnrc* .pnpmfile.cjs .yarn/ pnpm-workspace.yaml"),
    _rule("javascript", Kind.SETTINGS, "bunfig.toml deno.json*"),
    _rule("javascript", Kind.SETTINGS, "turbo.json nx.json project.json lerna.json .nvmrc .node-version"),
    _rule("javascript", Kind.SETTINGS, "wdio.conf.*"),
    _rule("javascript", Kind.MANIFEST, "package.json"),
    _rule("javascript", Kind.LOCK, "package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml"),
    _rule("javascript", Kind.LOCK, "bun.lock bun.lockb deno.lock"),
    _rule("rust", Kind.SETTINGS, ".cargo/ .config/nextest.toml rust-toolchain rust-toolchain.toml"),
    _rule("rust", Kind.SETTINGS, "clippy.toml"),
    _rule("rust", Kind.MANIFEST, "Cargo.toml"),
    _rule("rust", Kind.BUILD, "build.rs"),
    _rule("rust", Kind.LOCK, "Cargo.lock"),
    _rule("go", Kind.TEST, "*_test.go testdata/"),
    _rule("go", Kind.SETTINGS, "go.work"),
    _rule("go", Kind.BUILD, "go.mod"),
    _rule("go", Kind.LOCK, "go.sum go.work.sum"),
    _rule("jvm", Kind.TEST, "src/test/ src/*Test/ *Test.java *Tests.java *IT.java *Test.kt *Tests.kt"),
    _rule("jvm", Kind.TEST, "*Spec.groovy *Spec.scala"),
    _rule("jvm", Kind.SETTINGS, ".mvn/ mvnw gradlew gradle/ gradle.properties init.gradle*"),
    _rule("jvm", Kind.SETTINGS, "junit-platform.properties"),
    _rule("jvm", Kind.BUILD, "pom.xml build.gradle* settings.gradle* build.sbt buildSrc/"),
    _rule("jvm", Kind.LOCK, "gradle.lockfile"),
    _rule("ruby", Kind.SUPPORT, "spec_helper.rb rails_helper.rb test_helper.rb"),
    _rule("ruby", Kind.TEST, "*_spec.rb *_test.rb test_*.rb *.feature"),
    _rule("ruby", Kind.SETTINGS, ".rspec .rspec-local Rakefile rakefile Rakefile.rb .simplecov"),
    _rule("ruby", Kind.SETTINGS, "cucumber.yml .ruby-version"),
    _rule("ruby", Kind.LOCK, "Gemfile Gemfile.lock"),
    _rule("php", Kind.TEST, "*Test.php"),
    _rule("php", Kind.SETTINGS, "phpunit.xml* phpunit.*.xml Pest.php"),
    _rule("php", Kind.MANIFEST, "composer.json"),
    _rule("php", Kind.LOCK, "composer.lock"),
    _rule("dotnet", Kind.TEST, "*Test.cs *Tests.cs *.Tests/ *.Test/ *Tests.fs"),
    _rule("dotnet", Kind.SETTINGS, "*.runsettings xunit.runner.json Directory.Build.* global.json"),
    _rule("dotnet", Kind.SETTINGS, "nuget.config NuGet.Config"),
    _rule("dotnet", Kind.BUILD, "*.csproj *.fsproj *.sln *.slnx"),
    _rule("dotnet", Kind.LOCK, "packages.lock.json Directory.Packages.props"),
    _rule("native", Kind.TEST, "*_test.c *_test.cc *_test.cpp *_unittest.cc test_*.c test_*.cc test_*.cpp"),
    _rule("native", Kind.SETTINGS, "CTestTestfile.cmake CTestConfig.cmake CTestCustom.cmake"),
    _rule("native", Kind.SETTINGS, "CMakePresets.json .bazelrc"),
    _rule("native", Kind.BUILD, "CMakeLists.txt meson.build meson_options.txt meson.options *.cmake BUILD"),
    _rule("native", Kind.BUILD, "BUILD.bazel WORKSPACE"),
    _rule("others", Kind.TEST, "*_test.exs test_*.exs *_test.dart *Tests.swift *_test.zig *.bats *_spec.lua"),
    _rule("others", Kind.BUILD, "mix.exs Package.swift pubspec.yaml build.zig"),
    _rule("others", Kind.LOCK, "mix.lock Package.resolved pubspec.lock flake.lock"),
    _rule("all", Kind.SETTINGS, "Makefile makefile GNUmakefile *.mk justfile Justfile .justfile"),
    _rule("all", Kind.SETTINGS, "Taskfile.y* .pre-commit-config.yaml"),
    _rule("all", Kind.SETTINGS, ".github/ .gitlab-ci.yml .gitlab/ .circleci/ .ci/ Jenkinsfile"),
    _rule("all", Kind.SETTINGS, "azure-pipelines.yml .travis.yml .drone.yml"),
    _rule("all", Kind.SETTINGS, ".gitattributes .gitmodules .env .env.* .envrc .tool-versions mise.toml"),
    _rule("all", Kind.SETTINGS, ".mise.toml Dockerfile*"),
    _rule("all", Kind.TEST, "test/ tests/ __tests__/ spec/ specs/ __snapshots__/ __mocks__/ e2e/ cypress/"),
    _rule("all", Kind.TEST, "features/ t/"),
)  # fmt: skip

_SCRIPT = re.compile(
    r"\.(?:sh|bash|zsh|fish|bat|ps1)$|(?:^|/)(?:bin|scripts?|ci|tools?|hack)/"
    r"|(?:^|/|[_-])(?:run_?)?(?:tests?|checks?)(?:[._-]|$)"
)


def kind_of(path: str, also: Collection[str] = ()) -> Kind | None:
    """What a file has to do with a verdict; None for product code and documents.

    `also` are further paths that are settings here, such as scripts that the checks start.
    """
    if path in also:
        return Kind.SETTINGS
    for kind, pattern in _COMPILED:
        if pattern.search(path):
            return kind
    return None


def scripts_of(commands: Iterable[str], tracked: Collection[str]) -> frozenset[str]:
    """The tracked scripts that the checks start. A program of the product that a check starts is not one."""
    words = {word.removeprefix("./") for command in commands for word in re.split(r"[\s;&|()'\"=]+", command)}
    return frozenset(word for word in words if word in tracked and _SCRIPT.search(word))


def is_loaded_by_itself(path: str) -> bool:
    """Whether runners load the file without any test asking for it."""
    return PurePosixPath(path).name == "conftest.py"


def _regex(pattern: str) -> str:
    body = re.escape(pattern.rstrip("/")).replace(r"\*", "[^/]*")
    return f"(?:^|/){body}" + ("/" if pattern.endswith("/") else "$")


_COMPILED = tuple((rule.kind, re.compile("|".join(map(_regex, rule.patterns)))) for rule in TABLE)
