"""What the store can refuse, as one tree.

StoreError
|-- StoreMissing          no store at that path yet
|-- StoreForeign          the file is not a Nightcrew store; it is left untouched
|-- StoreCorrupt          SQLite finds the file damaged; it is left untouched
|-- StoreVersionMismatch  written by another version of Nightcrew
|-- StoreUnwritable       disk full, read-only or no permission
|-- StaleGeneration       the writer was replaced by a newer incarnation (the fence)
|-- IllegalTransition     a state change that the table of transitions does not have
|-- MailboxFull           the recipient has too many unread messages
|-- BackupFailed          a copy of the store was made and is not sound
`-- NotFound              no row of that name or id
"""

from __future__ import annotations


class StoreError(Exception):
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


class StaleGeneration(StoreError):
    """This incarnation was replaced by a newer one; what it wrote was refused."""


class IllegalTransition(StoreError):
    """The table of transitions has no such change."""


class MailboxFull(StoreError):
    """The recipient's mailbox is full; try again when it has worked some off."""


class BackupFailed(StoreError):
    """A copy of the store is not sound."""


class NotFound(StoreError):
    """There is no such row."""
