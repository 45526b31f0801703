"""How one process reads and writes the store: connections, transactions, the writers' lock and the fencing token.

Features that only SQLite has are used in this package and in `store/insights.py` alone. Only modules of `store` build
statements; everybody else passes the `Store` or the `Transaction` to their functions. Imports `store.errors`,
`store.schema` and `store.failpoints`.

    store          the open store of one process
    transaction    a write in progress, and the fencing token
    connection     one SQLite connection
    prepared       statements that are compiled once
    writers_lock   the queue of writers
    header         checks whether a file is a store of this version
    translate      translates the driver's errors into the store's
"""

from store.engine.store import Source, Store
from store.engine.transaction import Fence, Notify, Transaction

__all__ = ["Fence", "Notify", "Source", "Store", "Transaction"]
