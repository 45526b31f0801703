"""The crew's settings: their names, units, limits and defaults.

Each class is a section of `nightcrew.toml`, each field a key in it. Only the supervisor reads the file and the
environment (`supervisor/config/`). Every child gets the result as JSON (`Config.to_json`, `Config.from_json`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from actors.model.address import normalise_host
from actors.model.protocol import Limits, ModelOptions
from store.states import Role

_MODEL = ModelOptions(model="qwen3-coder:30b")
_LIMITS = Limits()

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Minutes = Annotated[float, Field(gt=0, le=7 * 24 * 60, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Temperature = Annotated[float, Field(ge=0, le=2)]
Share = Annotated[float, Field(gt=0, le=1)]

HOST_WIDE = (
    "all agents must send the same runner options, because other values make the server reload the model"
)


class _Section(BaseModel):
    """A section. Frozen and strict: values are not converted, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


class LimitSettings(_Section):
    """`[model.limits]`: seconds until a model request counts as failed; see `model.protocol.Limits`."""

    connect_s: Seconds = _LIMITS.connect_s
    first_token_s: Seconds = _LIMITS.first_token_s
    idle_s: Seconds = _LIMITS.idle_s
    total_s: Seconds = _LIMITS.total_s


class RoleModel(_Section):
    """`[model.roles.<role>]`: what differs for one role. None means the value of `[model]`."""

    name: Name | None = None
    max_tokens: Annotated[int, Field(ge=64)] | None = None
    temperature: Temperature | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Field(ge=1)] | None = None
    repeat_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    seed: int | None = None


class ModelSettings(_Section):
    """`[model]`: hosts, the default model, its context window and sampling.

    `slots` is the number of concurrent requests per host; 0 finds it out (`actors/model/hosts/capacity.py`).
    `preload` loads the model when the crew starts instead of with the first request.
    """

    hosts: Annotated[tuple[str, ...], Field(min_length=1)] = ("http://127.0.0.1:11434",)
    name: Name = _MODEL.model
    context_window: Annotated[int, Field(ge=2048)] = _MODEL.context_window
    max_tokens: Annotated[int, Field(ge=64)] = _MODEL.max_tokens
    temperature: Temperature = _MODEL.temperature
    top_p: Share = _MODEL.top_p
    top_k: Annotated[int, Field(ge=1)] = _MODEL.top_k
    repeat_penalty: Annotated[float, Field(gt=0, le=2)] = _MODEL.repeat_penalty
    seed: int | None = None
    keep_alive: Name = _MODEL.keep_alive
    slots: Annotated[int, Field(ge=0, le=64)] = 0
    preload: bool = True
    limits: LimitSettings = LimitSettings()
    roles: dict[str, RoleModel] = {}

    @field_validator("hosts")
    @classmethod
    def _hosts_are_addresses(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(normalise_host(host) for host in hosts))

    @model_validator(mode="after")
    def _answers_fit_the_window(self) -> ModelSettings:
        for max_tokens in (self.max_tokens, *(role.max_tokens for role in self.roles.values())):
            if max_tokens is not None and max_tokens > self.context_window // 2:
                raise ValueError(
                    f"max_tokens {max_tokens} is more than half of context_window {self.context_window}; "
                    "lower max_tokens or raise context_window"
                )
        return self

    def options(self, role: Role) -> ModelOptions:
        """The options that an agent of `role` sends with each request. Runner options are equal for all roles."""
        values: dict[str, Any] = {
            name: getattr(self, name) for name in ("max_tokens", "temperature", "top_p", "top_k", "seed")
        }
        values |= {"model": self.name, "repeat_penalty": self.repeat_penalty}
        override = self.roles.get(role.value, RoleModel()).model_dump(exclude_none=True)
        if "name" in override:
            override["model"] = override.pop("name")
        return ModelOptions(
            context_window=self.context_window, keep_alive=self.keep_alive, **(values | override)
        )

    def request_limits(self) -> Limits:
        """The limits for one request."""
        return Limits(**self.limits.model_dump())

    def names(self) -> tuple[str, ...]:
        """All models that some role uses, the default first. The hosts must have them."""
        return tuple(dict.fromkeys([self.name, *(role.name for role in self.roles.values() if role.name)]))


class BudgetSettings(_Section):
    """`[budgets]`: what a task may cost before a recovery step is taken. Only generated tokens count."""

    steps_per_task: Count = 200
    minutes_per_task: Minutes = 180
    tokens_per_task: Count = 400_000
    format_errors: Count = 5
    attempts_per_task: Count = 5


class CheckInSettings(_Section):
    """`[check_ins]`: how often a manager and the orchestrator get a check-in message."""

    manager_minutes: Minutes = 30
    orchestrator_minutes: Minutes = 60


class WorkSettings(_Section):
    """`[work]`: longest time between an engineer's commits, number of engineers, command timeouts."""

    commit_minutes: Minutes = 30
    engineers: Annotated[int, Field(ge=1, le=100)] = 2
    qa: bool = False
    check_timeout_s: Seconds = 1800
    shell_timeout_s: Seconds = 120


class SandboxSettings(_Section):
    """`[sandbox]`: how commands are confined.

    With `mode` `auto` the crew starts only if a sandbox works on this machine. `off`, which `--unsafe` sets, runs
    all commands without a sandbox.
    """

    mode: Literal["auto", "off"] = "auto"
    network: bool = False
    read_only_paths: tuple[str, ...] = ()
    memory_mb: Annotated[int, Field(ge=64)] = 4096
    max_processes: Annotated[int, Field(ge=8)] = 512
    max_output_mb: Count = 500

    @field_validator("read_only_paths")
    @classmethod
    def _paths_are_absolute(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if not path.startswith(("/", "~/")):
                raise ValueError(f"{path!r} is not an absolute path; use /PATH or ~/PATH")
        return paths


class EnvironmentSettings(_Section):
    """`[environment]`: how the dependencies of a project are installed.

    - `network`: which commands have it. `setup`: only those that install dependencies. `never`: not even they.
      `always`: the agents' commands and the checks, too.
    - `setup_timeout_s`: the limit for each set-up command.
    """

    network: Literal["setup", "never", "always"] = "setup"
    setup_timeout_s: Seconds = 1800


class SupervisorSettings(_Section):
    """`[supervisor]`: restarts and deadlines of child processes.

    - A child is quarantined after more than `intensity` restarts within `intensity_window_s`.
    - The first restart in a window is immediate. The second waits `backoff_first_s`, then the wait doubles.
    - `grace_s`: how long a stopping child may take before it is killed.
    - `stall_s`: how long a task may be ready while an agent is idle before that is investigated.
    - `inhibit_sleep`: keep the machine awake while a project is active, where the system allows it.
    """

    intensity: Annotated[int, Field(ge=0)] = 5
    intensity_window_s: Seconds = 900
    backoff_first_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.2
    backoff_max_s: Seconds = 60
    grace_s: Seconds = 5
    stall_s: Seconds = 60
    inhibit_sleep: bool = True

    @model_validator(mode="after")
    def _backoff_grows(self) -> SupervisorSettings:
        if self.backoff_first_s > self.backoff_max_s:
            raise ValueError(
                f"backoff_first_s {self.backoff_first_s} is greater than backoff_max_s {self.backoff_max_s}"
            )
        return self


class TmuxSettings(_Section):
    """`[tmux]`: windows in which to watch the crew. The crew works without them."""

    enabled: bool = True


class RetentionSettings(_Section):
    """`[retention]`: days that archived projects and logs are kept, and the size at which a log rotates.

    With less than `min_free_mb` free on the disk the crew pauses until there is more; 0 never pauses.
    """

    days: Count = 30
    log_days: Count = 14
    log_mb: Count = 10
    min_free_mb: Annotated[int, Field(ge=0)] = 500


class Config(_Section):
    """All settings of a crew."""

    model: ModelSettings = ModelSettings()
    budgets: BudgetSettings = BudgetSettings()
    check_ins: CheckInSettings = CheckInSettings()
    work: WorkSettings = WorkSettings()
    sandbox: SandboxSettings = SandboxSettings()
    environment: EnvironmentSettings = EnvironmentSettings()
    supervisor: SupervisorSettings = SupervisorSettings()
    tmux: TmuxSettings = TmuxSettings()
    retention: RetentionSettings = RetentionSettings()

    def to_json(self) -> str:
        """All settings as JSON, for a child process."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> Config:
        """The settings from the JSON that `to_json` made."""
        return cls.model_validate_json(text)
