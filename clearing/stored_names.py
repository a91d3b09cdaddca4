"""Which rows, named by their content, are known to be stored: they need not be inserted again.

Owns: what follows from an insert that leaves known rows out. Must not know: the rows.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_MOST: Final = 10_000


@dataclass(slots=True)
class StoredNames:
    """Names of committed rows that are never changed or deleted.

    What an insert adds may yet be rolled back, so a name is known once a later transaction's insert has left
    it out.
    """

    _known: set[str] = field(default_factory=set)
    _added: dict[str, str] = field(default_factory=dict)  # by name: the transaction that added it last

    def missing(self, contents: Mapping[str, str]) -> dict[str, str]:
        """Of contents by name: those that are not known to be stored."""
        return {name: content for name, content in contents.items() if name not in self._known}

    def inserted(self, names: Collection[str], answer: Mapping[str, Any]) -> None:
        """Note an insert of names; its answer has the `transaction` and the names that it added, `fresh`."""
        transaction, fresh = answer["transaction"], set(answer["fresh"])
        if len(self._known) + len(self._added) > _MOST:
            self._known.clear()
            self._added.clear()
        for name in names:
            if name in fresh:
                self._added[name] = transaction
            elif self._added.get(name) != transaction:
                self._added.pop(name, None)
                self._known.add(name)
