"""The root of all errors of Nightcrew, and the errors of the store.

The number is the exit code of a command that such an error ends. A class without a number has its parent's.

NightcrewError                  1
|-- StoreError                     the store refused an operation
|   |-- StoreMissing               no store at that path yet
|   |-- StoreForeign               the file is not a Nightcrew store; it is left untouched
|   |-- StoreCorrupt               SQLite finds the file damaged; it is left untouched
|   |-- StoreVersionMismatch       written by another version of Nightcrew
|   |-- StoreUnwritable        73  disk full, read-only or no permission
|   |-- StaleGeneration            the writer was replaced by a newer incarnation (the fence)
|   |-- IllegalTransition       2  a state change that the table of transitions does not have
|   |-- MailboxFull                the recipient has too many unread messages
|   |-- BackupFailed               a copy of the store was made and is not sound
|   `-- NotFound                   no row of that name or id
|-- ActorError                     `actors/errors.py`
|-- InfrastructureError            `actors/errors.py`: git, a lock or the sandbox failed
|-- ModelError                     `actors/model/errors.py`
|-- ScreenError                    `actors/screen/errors.py`
|-- ScriptError                    a script of the rehearsal is invalid
`-- UsageProblem, NotReady ...     `supervisor/errors.py`: what a command refuses
"""

from __future__ import annotations


class NightcrewError(Exception):
    """An error whose text a person can act on; the command line prints it without a traceback."""

    exit_code = 1


class StoreError(NightcrewError):
    """The store refused an operation."""


class StoreMissing(StoreError):
    """There is no store yet; `nightcrew up` makes one."""


class StoreForeign(StoreError):
    """The file is not a Nightcrew store."""


class StoreCorrupt(StoreError):
    """The store's file is damaged."""


class StoreVersionMismatch(StoreError):
    """The store was written by another version of Nightcrew."""


class StoreUnwritable(StoreError):
    """The store cannot be written: disk full, read-only or no permission."""

    exit_code = 73


class StaleGeneration(StoreError):
    """This incarnation was replaced by a newer one; what it wrote was refused."""


class IllegalTransition(StoreError):
    """The table of transitions has no such change."""

    exit_code = 2


class MailboxFull(StoreError):
    """The recipient's mailbox is full; try again when it has worked some off."""


class BackupFailed(StoreError):
    """A copy of the store is not sound."""


class NotFound(StoreError):
    """There is no such row."""
