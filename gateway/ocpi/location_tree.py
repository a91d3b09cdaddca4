"""A location's tree: where its EVSEs and connectors are, and how a push changes them.

Owns: finding, placing and merging parts, and which of two versions of a part is newer. Must not know: SQL,
HTTP. Pure; a tree given here is changed in place. Source: OCPI mod_locations, Receiver Interface; a PATCH
leaves what it does not name as it is, so a list in it holds parts to be merged by their ids, not the whole.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from gateway.ocpi.envelope import timestamp
from gateway.ocpi.errors import OcpiRejectionError, StatusCode
from gateway.ocpi.request_bodies import Tree, identifier, objects, optional_moment

# Lists of parts that have an id: the list's name, the id's name, and the lists inside each part.
_PARTS: Final[Mapping[str, str]] = {"evses": "uid", "connectors": "id"}


def find_part(tree: Tree, path: list[str]) -> dict[str, Any] | None:
    """Return the EVSE, or the connector, that `path` (EVSE uid, connector id) leads to; None if unknown."""
    evse = _find(tree, "evses", path[0])
    return evse if evse is None or len(path) == 1 else _find(evse, "connectors", path[1])


def place_part(tree: dict[str, Any], path: list[str], part: Tree) -> bool:
    """Put a whole EVSE or connector into a location's tree; True when it is new.

    Raises OcpiRejectionError when the EVSE of a connector is unknown.
    """
    parent, members = _parent(tree, path)
    known = _find(parent, members, path[-1])
    if known is None:
        parent[members] = [*objects(parent, members), dict(part)]
        return True
    known.clear()
    known.update(part)
    return False


def merge_part(tree: dict[str, Any], path: list[str], changes: Tree) -> None:
    """Change fields of the EVSE or connector at `path`. Raises OcpiRejectionError when it is unknown."""
    parent, members = _parent(tree, path)
    known = _find(parent, members, path[-1])
    if known is None:
        raise unknown("EVSE or connector", path[-1], hint="; PUT it")
    merge(known, changes)


def merge(kept: dict[str, Any], changes: Tree, *, at: str = "$") -> None:
    """Change fields of `kept`; EVSEs and connectors in a list are merged by their ids, new ones are added.

    Raises OcpiRejectionError when a part in a list has no id.
    """
    for name, value in changes.items():
        if name in _PARTS and isinstance(value, list):
            kept[name] = _merged_list(kept, name, objects(changes, name, at=at), at=f"{at}.{name}")
        else:
            kept[name] = value


def _merged_list(kept: Tree, name: str, changed: Any, *, at: str) -> list[Any]:
    merged = [dict(member) for member in objects(kept, name)]
    by_id = {str(member.get(_PARTS[name], "")).lower(): member for member in merged}
    for position, part in enumerate(changed):
        place = f"{at}[{position}]"
        key = identifier(part, _PARTS[name], at=place, limit=39).lower()
        if key in by_id:
            merge(by_id[key], part, at=place)
        else:
            by_id[key] = dict(part)
            merged.append(by_id[key])
    return merged


def is_stale(part: Tree | None, *, changed_at: datetime, now: datetime) -> bool:
    """Whether what is kept of a part is newer than a push of `changed_at`; an unknown part never is.

    A kept time after `now` counts as `now`.
    """
    kept_at = None if part is None else optional_moment(part, "last_updated")
    return kept_at is not None and min(kept_at, now) > changed_at


def touch_parents(tree: dict[str, Any], path: list[str], *, changed_at: datetime, now: datetime) -> None:
    """Give the parents of a pushed part its last_updated, where theirs is older."""
    parents = [tree] if len(path) == 1 else [tree, _find(tree, "evses", path[0])]
    for parent in parents:
        if parent is not None and not is_stale(parent, changed_at=changed_at, now=now):
            parent["last_updated"] = timestamp(changed_at)


def _parent(tree: dict[str, Any], path: list[str]) -> tuple[dict[str, Any], str]:
    if len(path) == 1:
        return tree, "evses"
    evse = _find(tree, "evses", path[0])
    if evse is None:
        raise unknown("EVSE", path[0], hint="; PUT the EVSE first")
    return evse, "connectors"


def _find(tree: Tree, members: str, wanted: str) -> dict[str, Any] | None:
    for member in objects(tree, members):
        if str(member.get(_PARTS[members], "")).lower() == wanted.lower() and isinstance(member, dict):
            return member
    return None


def unknown(what: str, name: str, *, hint: str = "") -> OcpiRejectionError:
    """The answer to a push or request of something that is not here."""
    return OcpiRejectionError(
        f"{what} {name} is unknown here{hint}", code=StatusCode.UNKNOWN_LOCATION, http_status=404
    )
