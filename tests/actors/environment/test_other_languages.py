"""Projects in other languages: Node, Go, Rust, Java. Each needs its tool, and its registry for a first install."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.environment.folders import find_manifests
from actors.environment.proof import resolve_outside
from actors.git.command import Git
from tests.actors.environment.conftest import Project, check_both_ways

pytestmark = pytest.mark.slow


def prove(project: Project, command: str) -> None:
    assert project.sandbox is not None
    assert (
        resolve_outside(project.sandbox, project.worktree, find_manifests(Git(project.worktree)), command)
        == ()
    )


def test_npm_project_with_a_runner_from_the_registry(project: Project) -> None:
    project.write(
        {
            "package.json": '{"name":"shop","type":"commonjs","scripts":{"test":"mocha"},'
            '"devDependencies":{"mocha":"^11"}}',
            "shop.js": "exports.price = () => 3;\n",
            "test/shop.js": "const a = require('assert');\nit('p', () => a.equal(require('../shop').price(), 3));\n",
            ".gitignore": "node_modules/\n",
        }
    )
    project.install("npm", "install", "--silent", "--no-fund", "--no-audit")
    project.commit()
    check_both_ways(project, "npm test", "shop.js", "=> 3", "=> 4")


def test_npm_workspaces(project: Project) -> None:
    project.write(
        {
            "package.json": '{"name":"top","private":true,"workspaces":["packages/*"],'
            '"scripts":{"test":"node --test packages/b/"},"devDependencies":{"ms":"^2"}}',
            "packages/a/package.json": '{"name":"@shop/a","version":"1.0.0","main":"index.js"}',
            "packages/a/index.js": "exports.price = () => 3;\n",
            "packages/b/package.json": '{"name":"@shop/b","version":"1.0.0","dependencies":{"@shop/a":"*"}}',
            "packages/b/b.test.js": "const {test} = require('node:test'); const a = require('assert'); require('ms');\n"
            "test('p', () => a.equal(require('@shop/a').price(), 3));\n",
            ".gitignore": "node_modules/\n",
        }
    )
    project.install("npm", "install", "--silent", "--no-fund", "--no-audit")
    project.commit()
    check_both_ways(project, "npm test", "packages/a/index.js", "=> 3", "=> 4")
    prove(project, "npm test")


def test_go_module_with_a_dependency(project: Project) -> None:
    project.write(
        {
            "go.mod": "module example.com/shop\n\ngo 1.21\n\nrequire github.com/google/uuid v1.6.0\n",
            "shop.go": 'package shop\n\nimport "github.com/google/uuid"\n\n'
            "func Price() int { _ = uuid.Nil; return 3 }\n",
            "shop_test.go": 'package shop\n\nimport "testing"\n\n'
            'func TestPrice(t *testing.T) { if Price() != 3 { t.Fatal("wrong") } }\n',
        }
    )
    project.install("go", "mod", "tidy")
    project.install("go", "test", "./...")
    project.commit()
    before = _names(Path(os.environ.get("GOCACHE") or Path.home() / ".cache/go-build"))
    check_both_ways(project, "go test ./...", "shop.go", "return 3", "return 4")
    assert _names(Path(os.environ.get("GOCACHE") or Path.home() / ".cache/go-build")) >= before
    prove(project, "go test ./...")


def test_crate_with_a_dependency(project: Project) -> None:
    project.write(
        {
            "Cargo.toml": '[package]\nname = "shop"\nversion = "0.1.0"\nedition = "2021"\n'
            '[dependencies]\nitoa = "1"\n',
            "src/lib.rs": "pub fn price() -> i32 { itoa::Buffer::new().format(3).parse().unwrap() }\n"
            "#[test] fn right() { assert_eq!(price(), 3); }\n",
            ".gitignore": "target/\n",
        }
    )
    project.install("cargo", "test", "-q")
    project.commit()
    check_both_ways(project, "cargo test -q", "src/lib.rs", "format(3)", "format(4)")
    prove(project, "cargo test")


def test_maven_project(project: Project) -> None:
    project.write(
        {
            "pom.xml": POM,
            "src/main/java/x/Shop.java": "package x; public class Shop { public static int price() { return 3; } }\n",
            "src/test/java/x/ShopTest.java": "package x; import org.junit.*;\n"
            "public class ShopTest { @Test public void p() { Assert.assertEquals(3, Shop.price()); } }\n",
            ".gitignore": "target/\n",
        }
    )
    project.install("mvn", "-B", "-q", "test")
    project.commit()
    check_both_ways(project, "mvn -o -B -q test", "src/main/java/x/Shop.java", "return 3", "return 4")


POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>x</groupId><artifactId>shop</artifactId><version>1</version>
<properties>
<maven.compiler.source>11</maven.compiler.source><maven.compiler.target>11</maven.compiler.target>
<project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
</properties>
<dependencies><dependency>
<groupId>junit</groupId><artifactId>junit</artifactId><version>4.13.2</version><scope>test</scope>
</dependency></dependencies>
</project>
"""


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*-d")}
