"""How one process reads and writes the store: connections, transactions, the writers' lock and the fence.

What only SQLite can do stays in this package and in `store/insights.py`. Only modules of `store` build
statements; everybody else passes the `Store` or the `Transaction` to their functions. Imports `store.errors`,
`store.schema` and `store.failpoints`.
"""

from store.engine.store import Store
from store.engine.transaction import Fence, Notify, Source, Transaction

__all__ = ["Fence", "Notify", "Source", "Store", "Transaction"]
