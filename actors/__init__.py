"""Everything that lives in a child process: actors, and what they work with.

| package or module | contents |
|---|---|
| `errors`, `home`, `disk`, `text` | used everywhere; they import nothing else of this package |
| `settings` | the types of the configuration |
| `log` | structured logs |
| `git` | worktrees, commits and merges, through one wrapper around the git command |
| `model` | the client of a model host |
| `rehearsal` | the scripted model's server |
| `sandbox` | commands, confined |
| `environment` | a repository's own toolchains and dependencies |
| `runtime` | the base of all actors: process, mailbox, messages, retries |
| `work` | tasks and projects: who gets what, and which state follows |
| `gate` | the merge gate |
| `tools` | the tools that a model can call |
| `roles` | the prompts |
| `agent` | the agent |
| `screen` | the tmux windows |

May import `store`, never `supervisor`. import-linter holds the order of the packages (see pyproject.toml). The one
thing to know: an actor's state is in the store, so any process here can be killed at any instant.
"""
