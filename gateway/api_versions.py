"""The versions of the API and what each changed, as data.

Owns: that list. Must not know how a version is chosen or applied. A change that breaks a caller is a new
entry here, with its functions and a test of them; what only adds needs none. `docs/api/changelog.md` and
`/reference/versions` are made from it.
"""

from typing import Any, Final

from gateway.version_rules import ApiVersion, VersionCatalogue, VersionChange, each, renamed

_older_vat_id, _ = renamed("seat", "of_establishment")
_STATED_DIRECTLY: Final = frozenset({"operator_session", "operator_api", "platform", "payer"})


def _one_source_of_statements(session: dict[str, Any]) -> dict[str, Any]:
    """Before, whoever stated usage without a CDR had done it by the `api`."""
    usage = session.get("usage")
    if isinstance(usage, dict) and usage.get("source") in _STATED_DIRECTLY:
        session["usage"] = {**usage, "source": "api"}
    return session


VERSIONS: Final = VersionCatalogue(
    versions=(
        ApiVersion(name="2026-11-01", about="The first version."),
        ApiVersion(
            name="2026-11-30", about="Who stated a session's usage is named; plain terms for VAT ids."
        ),
    ),
    changes=(
        VersionChange(
            version="2026-11-30",
            about="In `PartyVat`, `ids[].seat` is called `of_establishment`.",
            answers={"party_vat": each("ids", _older_vat_id)},
            breaks=frozenset({"field VatId.seat"}),
        ),
        VersionChange(
            version="2026-11-30",
            about="In `Session`, `usage.source` names who stated usage without a CDR: `operator_session`, "
            "`operator_api`, `platform` or `payer`, in place of `api`.",
            answers={"session": _one_source_of_statements},
            breaks=frozenset({"field StatedUsage.source"}),
        ),
    ),
)
NEWEST: Final = VERSIONS.newest
