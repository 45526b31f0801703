"""The history rows of an agent's current context. Only committed rows are added."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.agent.context import prompt
from store import crew, history
from store.engine import Fence, Store, Transaction
from store.entries import Entry, MaskBody, MessageBody, SummaryBody, SystemBody


@dataclass(slots=True)
class Memory:
    """The entries that the next prompt is built from, oldest first."""

    store: Store
    fence: Fence
    entries: list[Entry] = field(default_factory=list)

    def load(self, begins_at: int) -> None:
        """Read the context that begins at the row `begins_at`, of kind `system` or `summary`; 0 for an empty one.

        Only the rows of the context are read, however long the history is.
        """
        self.entries = []
        if begins_at == 0:
            return
        first = history.by_ids(self.store, [begins_at])[0]
        if isinstance(first.body, SummaryBody):
            kept = [first.body.system, *first.body.pinned]
            rest = history.tail(self.store, self.fence.agent, first.body.keep_from)
            self.entries = [*history.by_ids(self.store, kept), *rest]
        else:
            self.entries = history.tail(self.store, self.fence.agent, begins_at)

    @property
    def is_empty(self) -> bool:
        """Whether no context has begun."""
        return not self.entries

    def begin(self, tx: Transaction, text: str, *, now: float, task: int | None) -> list[Entry]:
        """Begin a fresh context with the system text. Returns the new rows, to be passed to `add` after the commit."""
        entry = history.append(tx, self.fence, SystemBody(text), now=now, task=task)
        crew.change_agent(tx, self.fence.agent, context_from=entry.id)
        return [entry]

    def summarise(self, tx: Transaction, text: str, keep_from: int, *, now: float) -> list[Entry]:
        """Replace everything before `keep_from` by a summary and pinned messages. Returns the new rows.

        The first message and the last two before `keep_from` are pinned.
        """
        cut = prompt.compaction(self.entries)
        system = next(entry.id for entry in self.entries if isinstance(entry.body, SystemBody))
        messages = [e.id for e in self.entries if isinstance(e.body, MessageBody) and e.id < keep_from]
        pinned = tuple(sorted({*messages[:1], *messages[-2:]}))
        body = SummaryBody(text, system, pinned, keep_from, mask_to=max(cut.mask_to, keep_from))
        entry = history.append(tx, self.fence, body, now=now)
        crew.change_agent(tx, self.fence.agent, context_from=entry.id)
        return [entry]

    def mask(self, tx: Transaction, mask_to: int, *, now: float) -> list[Entry]:
        """Leave out tool output before `mask_to` from now on. Returns the new rows."""
        return [history.append(tx, self.fence, MaskBody(mask_to), now=now)]

    def add(self, entries: list[Entry]) -> None:
        """Add rows that were committed."""
        for entry in entries:
            if isinstance(entry.body, SystemBody):
                self.entries = []
            self.entries.append(entry)
            if isinstance(entry.body, SummaryBody):
                self._prune(entry.body)

    def _prune(self, summary: SummaryBody) -> None:
        kept = {summary.system, *summary.pinned}
        self.entries = [e for e in self.entries if e.id in kept or e.id >= summary.keep_from]
