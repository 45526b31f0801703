"""Running set-up: in the sandbox, in a worktree of its own at the checkout's path, once for each digest.

What a unit installs is moved to the crew's folder and later mounted at its place, so neither the checkout nor the
user's caches are written to.

    <environment folder>/setups/<unit's key>/result.json   written last: a run that was killed is repeated
                                             made/         dependency folders, build folders, generated files
                                             caches/       for a unit that a task has changed
    <environment folder>/caches/setup/                     for the units of the base commit
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from actors.environment.folders import dependency_mounts, find_folders
from actors.environment.project import EMPTY_FILE, Environment, can_move_worktrees
from actors.environment.reading import read_file
from actors.environment.setup.result import SetupResult, is_below, with_setup
from actors.environment.setup.units import SPEC, SetupUnit
from actors.git.checkouts import checkout_scratch, remove_worktree
from actors.git.delete import delete_tree
from actors.git.locks import hold
from actors.git.repository import Repository
from actors.git.worktree import Worktree
from actors.sandbox.choose import choose
from actors.sandbox.policy import Mount, Sandbox, SandboxPolicy
from actors.sandbox.run import CommandResult, run_command
from store.shared.replace import replace_file

# Caches that set-up writes to. Those of the second table are also used afterwards, by checks and agents.
_CACHES = {
    "npm_config_cache": "npm",
    "UV_CACHE_DIR": "uv",
    "PIP_CACHE_DIR": "pip",
    "POETRY_CACHE_DIR": "poetry",
    "YARN_CACHE_FOLDER": "yarn",
    "BUN_INSTALL_CACHE_DIR": "bun",
    "COMPOSER_CACHE_DIR": "composer",
}
_KEPT_CACHES = {
    "cargo": "CARGO_HOME",
    "go": "GOMODCACHE",
    "maven": "MAVEN_OPTS",
    "gradle": "GRADLE_USER_HOME",
}
_FIXED = {
    "UV_LINK_MODE": "copy",
    # It would be installed into the home of one command, which is gone afterwards.
    "UV_PYTHON_DOWNLOADS": "never",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "CI": "1",
}
_USUAL_FOLDERS = (".venv", "venv", "node_modules", "vendor", "target", "build", "dist")
_SHOWN_CHARACTERS = 8_000


@dataclass(frozen=True, slots=True)
class SetupRunner:
    """Runs units for one project.

    - `base`: the crew's policy, without a project's. `allow_network` is False for `network = "never"`.
    - `commit`: what is checked out for set-up. `overlay`: a worktree whose `manifests` replace the commit's.
    - `lasting`: the caches are shared by all units of the base commit. A task's own units have separate ones,
      which cannot influence what other tasks get.
    """

    environment: Environment
    base: SandboxPolicy
    repository: Repository
    commit: str
    locks: Path
    overlay: Path | None = None
    manifests: tuple[str, ...] = ()
    lasting: bool = True
    unsafe: bool = False
    allow_network: bool = True
    timeout_s: float = 1800.0
    cancelled: threading.Event | None = None
    on_output: Callable[[str], None] | None = None

    def run(self, unit: SetupUnit) -> SetupResult:
        """Install what the unit needs, or return the result of an earlier run. Only success is kept.

        Waits up to `timeout_s` while another process does the same. Raises LockTimeoutError, SandboxError,
        WorkspaceError, OSError.
        """
        place = Path(self.environment.folder) / "setups" / unit.key
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with hold(self.locks, "setup", place, wait_s=self.timeout_s):
            known = _known(place)
            if known is not None:
                return known
            if not (place / "tree" / ".git").exists():
                delete_tree(place / "tree")  # kept by a run that was killed before its result was written
            tree = checkout_scratch(self.repository, self.commit, place / "tree", locks=self.locks)
            try:
                self._copy_manifests(tree.path)
                result = self._install(unit, tree, place)
                if result.path:
                    _detach(tree)
            finally:
                if tree.git_dir.exists():
                    remove_worktree(self.repository, tree.path, locks=self.locks)
            if result.ok:
                replace_file(place / "result.json", json.dumps(asdict(result)))
            return result

    @property
    def _moves(self) -> bool:
        return can_move_worktrees(self.base, unsafe=self.unsafe)

    def _copy_manifests(self, tree: Path) -> None:
        """Bring the manifests of `overlay`, which may not be committed yet, into the tree."""
        for name in self.manifests:
            content = read_file(self.overlay, name) if self.overlay is not None else None
            target = tree / name
            if content is not None and target.parent.is_dir() and not target.is_symlink():
                target.write_bytes(content)

    def _install(self, unit: SetupUnit, tree: Worktree, place: Path) -> SetupResult:
        """Nothing if the probe succeeds without the network, else the unit's command, with it."""
        name, command = unit.name, unit.command
        if not self._moves:
            self.environment.warm(tree.path, in_place=True)
        if unit.probe is not None:
            probe = self._command(self._plain_policy(tree.path, network=False), unit.probe, tree.path)
            if probe.ok:
                return SetupResult(unit.key, name, command, needed=False, duration_s=probe.duration_s)
        caches = Path(self.environment.folder) / "caches" / "setup" if self.lasting else place / "caches"
        if not self._moves:
            # Under Landlock no command can make an entry in the top folder. Git ignores folders that stay empty.
            for path in unit.makes or _USUAL_FOLDERS:
                (tree.path / path).mkdir(parents=True, exist_ok=True)
        done = self._command(self._policy(unit, caches, tree.path), command, tree.path)
        result = SetupResult(unit.key, name, command, True, done.exit_code, done.duration_s, done.output)
        return self._collected(result, unit, tree, place, caches) if done.ok else result

    def _command(self, policy: SandboxPolicy, command: str, tree: Path) -> CommandResult:
        sandbox: Sandbox = choose(policy, unsafe=self.unsafe, probe=False)
        return run_command(
            sandbox,
            command,
            worktree=tree,
            timeout_s=self.timeout_s,
            cancelled=self.cancelled,
            on_output=self.on_output,
            shown_chars=_SHOWN_CHARACTERS,
        )

    def _plain_policy(self, tree: Path, *, network: bool) -> SandboxPolicy:
        base = replace(self.base, network=network)
        return self.environment.policy(base) if self._moves else self.environment.policy_in_place(base, tree)

    def _policy(self, unit: SetupUnit, caches: Path, tree: Path) -> SandboxPolicy:
        """The network, writable caches, and no folder in the way of those that the unit makes."""
        policy = self._plain_policy(tree, network=self.allow_network)
        variables = dict(policy.variables) | _FIXED
        variables.pop("VIRTUAL_ENV", None)
        folders = dict(_CACHES) | {variable: name for name, variable in _KEPT_CACHES.items()}
        for variable, name in folders.items():
            folder = caches / name
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            variables[variable] = _value(variable, folder, variables)
        _copy_cargo_settings(dict(policy.variables).get("CARGO_HOME"), caches / "cargo")
        workplace = policy.workplace
        if workplace is not None:
            made = {f"{workplace.path}/{path}" for path in unit.makes}
            kept = [m for m in workplace.mounts if unit.tool != SPEC and not is_below(m.target, made)]
            workplace = replace(workplace, mounts=tuple(kept))
        return replace(
            policy,
            variables=tuple(variables.items()),
            mounts=(*policy.mounts, Mount(str(caches), str(caches), "writable")),
            workplace=workplace,
        )

    def _collected(
        self, result: SetupResult, unit: SetupUnit, tree: Worktree, place: Path, caches: Path
    ) -> SetupResult:
        """Move what the command made out of the tree, which is then removed."""
        found = find_folders(tree.path, Path(self.environment.folder) / EMPTY_FILE, tree.git())
        made = place / "made"
        delete_tree(made)
        mounts: list[Mount] = []
        copied: list[tuple[str, str]] = []
        kept_here = () if self._moves else found.environments
        for mount in found.mounts:
            if mount.target in kept_here:
                continue
            if mount.kind == "read_only" and not Path(mount.target).is_symlink():
                name = Path(mount.target).relative_to(tree.path)
                moved = _moved(tree.path / name, made / name)
                target = f"{self.environment.checkout}/{name}"
                if not self._moves:
                    copied.append((str(name), str(moved)))
                    continue
                mounts += dependency_mounts(moved, target, Path(self.environment.folder) / EMPTY_FILE)
        for path in (*found.build, *found.generated):
            copied.append((path, str(_moved(tree.path / path, made / path))))
        kept = {tool: caches / tool for tool in _KEPT_CACHES if unit.tool in (tool, SPEC)}
        used = {tool: folder for tool, folder in kept.items() if any(folder.iterdir())}
        variables = dict(self.environment.toolchains.variables)
        return replace(
            result,
            mounts=tuple(mounts),
            variables=tuple(
                (_KEPT_CACHES[t], _value(_KEPT_CACHES[t], f, variables)) for t, f in used.items()
            ),
            folders=(*(str(folder) for folder in used.values()), *kept_here),
            path=tuple(f"{folder}/bin" for folder in kept_here),
            copied=tuple(copied),
        )


def prepare_base(runner: SetupRunner) -> tuple[Environment, list[SetupResult]]:
    """Run the set-up of the base commit; the environment with what succeeded, and all results in order.

    Called before a project starts. Keep the environment with `keep_environment`. Raises as `SetupRunner.run`.
    """
    results = [runner.run(unit) for unit in runner.environment.units]
    return with_setup(runner.environment, [result for result in results if result.ok]), results


def _detach(tree: Worktree) -> None:
    """Make the tree an ordinary folder: programs in its virtual environment name its path, so it stays there."""
    (tree.path / ".git").unlink()
    delete_tree(tree.git_dir)


def _known(place: Path) -> SetupResult | None:
    try:
        return SetupResult.from_json(json.loads((place / "result.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _value(variable: str, folder: Path, variables: Mapping[str, str]) -> str:
    """The variable's value for a cache at `folder`. Maven has no variable for it, but takes Java's options."""
    if variable == "MAVEN_OPTS":
        return f"{variables.get(variable, '')} -Dmaven.repo.local={folder}".strip()
    return str(folder)


def _copy_cargo_settings(original: str | None, folder: Path) -> None:
    """The user's settings of registries, if they hold no credentials, for a cargo home of the crew's own."""
    settings = Path(original or "/nonexistent") / "config.toml"
    if settings.is_file():
        shutil.copyfile(settings, folder / "config.toml")


def _moved(source: Path, target: Path) -> Path:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source.rename(target)
    return target
