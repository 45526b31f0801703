"""Tables of known variables and folders of toolchains: what commands are shown of the user's home."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from actors.environment.credentials import holds_credentials, is_secret_name, is_secret_value


@dataclass(frozen=True, slots=True)
class KnownFolder:
    """A tool's folder: the variable that names it, its usual place in the home, and the parts to show.

    No `parts`: all of it is shown. The variable is set for commands, because their HOME is another one.
    """

    variable: str
    usual: str
    parts: tuple[str, ...] = ()


KNOWN_FOLDERS = (
    KnownFolder("CARGO_HOME", ".cargo", ("bin", "registry", "git", "config.toml", "config")),
    KnownFolder("RUSTUP_HOME", ".rustup", ("toolchains", "settings.toml")),
    KnownFolder("GOPATH", "go", ("bin", "pkg/mod")),
    KnownFolder("GOMODCACHE", "go/pkg/mod"),
    KnownFolder("GOENV", ".config/go/env"),
    KnownFolder("GRADLE_RO_DEP_CACHE", ".gradle/caches"),
    KnownFolder("UV_PYTHON_INSTALL_DIR", ".local/share/uv/python"),
    KnownFolder("NUGET_PACKAGES", ".nuget/packages"),
    KnownFolder("PLAYWRIGHT_BROWSERS_PATH", ".cache/ms-playwright"),
    KnownFolder("PUPPETEER_CACHE_DIR", ".cache/puppeteer"),
    KnownFolder("CYPRESS_CACHE_FOLDER", ".cache/Cypress"),
    KnownFolder("NPM_CONFIG_USERCONFIG", ".npmrc"),
    KnownFolder("PIP_CONFIG_FILE", ".config/pip/pip.conf"),
    KnownFolder("GEM_HOME", ".gem"),
    KnownFolder("PYTHONUSERBASE", ".local", ("lib",)),
    # Maven and sbt use the home folder from /etc/passwd rather than HOME, so they need no variable.
    KnownFolder("", ".m2", ("repository", "wrapper", "settings.xml", "toolchains.xml")),
    KnownFolder("", ".ivy2", ("cache", "local")),
    KnownFolder("", ".gradle/wrapper/dists"),
)

# Folders that are found only through these shell variables.
NAMED_FOLDERS = (
    *(
        "JAVA_HOME",
        "GOROOT",
        "MAVEN_HOME",
        "M2_HOME",
        "GRADLE_HOME",
        "DOTNET_ROOT",
        "GEM_PATH",
        "BUNDLE_PATH",
    ),
    *("ANDROID_HOME", "ANDROID_SDK_ROOT", "FLUTTER_ROOT", "CONDA_PREFIX", "VIRTUAL_ENV"),
)

CERTIFICATES = re.compile(
    r"SSL_CERT_(FILE|DIR)|(REQUESTS|CURL|AWS)_CA_BUNDLE|NODE_EXTRA_CA_CERTS|PIP_CERT|GIT_SSL_CAINFO"
    r"|NIX_SSL_CERT_FILE|CARGO_HTTP_CAINFO|DENO_CERT"
)
_PLAIN = re.compile(
    r"GO(FLAGS|TOOLCHAIN|PRIVATE|EXPERIMENT|OS|ARCH)|GO111MODULE|CGO_\w+|CC|CXX|CFLAGS|CXXFLAGS|LDFLAGS"
    r"|RUSTFLAGS|RUST_BACKTRACE|PKG_CONFIG_PATH|LD_LIBRARY_PATH|NODE_OPTIONS|NODE_ENV|MAVEN_(OPTS|ARGS)"
    r"|GRADLE_OPTS|JAVA_TOOL_OPTIONS|DOTNET_\w+|CONDA_DEFAULT_ENV|PYTHON(WARNINGS|UTF8|HASHSEED)|RAILS_ENV"
)
# How package managers reach their registries: only for commands that have the network.
_REGISTRY = re.compile(
    r"(https?|all|no)_proxy|(HTTPS?|ALL|NO)_PROXY|(PIP|UV|NPM_CONFIG|npm_config|YARN|BUNDLE|COMPOSER|POETRY"
    r"|PDM|CARGO_(NET|HTTP|REGISTRIES|REGISTRY))_\w+|GO(PROXY|SUMDB|NOSUMDB|NOPROXY|INSECURE)|SETUPTOOLS_\w+"
)


def plain_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Shell variables that affect toolchains and contain no path."""
    return _chosen(environ, _PLAIN)


def registry_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that configure access to package registries, without those that contain credentials."""
    return {
        name: value for name, value in _chosen(environ, _REGISTRY).items() if not CERTIFICATES.fullmatch(name)
    }


def _chosen(environ: Mapping[str, str], names: re.Pattern[str]) -> dict[str, str]:
    return {
        name: value
        for name, value in sorted(environ.items())
        if names.fullmatch(name) and not is_secret_name(name) and not is_secret_value(value)
    }


def known_folders(environ: Mapping[str, str], home: Path) -> tuple[list[str], dict[str, str]]:
    """The existing paths of the tables to show, and the variables that make tools find them."""
    paths: list[str] = []
    variables: dict[str, str] = {}
    for known in KNOWN_FOLDERS:
        place = Path(environ.get(known.variable) or home / known.usual)
        shown = [place / part for part in known.parts] if known.parts else [place]
        existing = [str(path) for path in shown if os.access(path, os.R_OK) and not holds_credentials(path)]
        paths += existing
        if existing and known.variable:
            variables[known.variable] = str(place)
    for name in NAMED_FOLDERS:
        folders = [Path(part) for part in environ.get(name, "").split(":") if part.startswith("/")]
        if folders and all(os.access(folder, os.R_OK | os.X_OK) for folder in folders):
            paths += [str(folder) for folder in folders]
            variables[name] = environ[name]
    for name, value in environ.items():
        if CERTIFICATES.fullmatch(name) and os.access(value, os.R_OK):
            paths.append(value)
            variables[name] = value
    return paths, variables
