"""The changelog of the API's versions, as a page of the documentation and as rows for the reference.

Owns: its words and the policy of deprecation. Must not know which versions there are: `gateway.api_versions`
has them as data.
"""

from typing import Final

from gateway.api.versioning import HEADER
from gateway.version_rules import Deprecation, VersionCatalogue, changelog_rows

# Each a sentence or two; `code` in backquotes. The page of the reference shows the same.
_POLICY_TEXT: Final = f"""
A version is a date. A key is pinned to the newest version when it is made; `{HEADER}` names another one for a
single request, and every answer names its own. An unknown version is rejected with `unknown_api_version` and
the list of those that there are.

`PATCH /v1/parties/{{id}}/api-keys/{{key_id}}` with `api_version` pins a key anew; `PATCH
/v1/webhook-endpoints/{{id}}` does so for what an endpoint is sent. Rotating a key keeps its version.

Within a version we only add: operations, optional fields of requests, fields of answers, values of
enumerations, event types, problem codes. Ignore what you don't know.

What breaks a caller is a new version, and the older ones go on: their requests and answers are turned at the
edge. A limit that the law or the PSP imposes holds in every version.

A version or an operation that ends is deprecated first, for at least twelve months. Its answers then have
`Deprecation` (RFC 9745), and `Sunset` (RFC 8594) once the end is decided, with a `Link` to this page.
"""
POLICY: Final = tuple(" ".join(part.split()) for part in _POLICY_TEXT.strip().split("\n\n"))


def changelog_page(catalogue: VersionCatalogue) -> str:
    """The page as Markdown."""
    lines = [
        "# Versions of the API",
        "",
        "Made from `gateway/api_versions.py` by `make api`; `/reference/versions` shows the same.",
        "",
        "## Policy",
        "",
        *[f"- {line}" for line in POLICY],
    ]
    for version, changes in changelog_rows(catalogue):
        lines += ["", f"## {version.name}", "", version.about]
        if version.deprecation is not None:
            lines += ["", describe_deprecation(version.deprecation)]
        if changes:
            lines += ["", *[f"- {change.about}" for change in changes]]
    if catalogue.operations:
        lines += ["", "## Deprecated operations", ""]
        lines += [
            f"- `{operation}`: {describe_deprecation(one)}"
            for operation, one in sorted(catalogue.operations.items())
        ]
    return "\n".join(lines) + "\n"


def describe_deprecation(deprecation: Deprecation) -> str:
    """A deprecation in a sentence."""
    until = "" if deprecation.until is None else f", works until {deprecation.until.date().isoformat()}"
    return f"Deprecated since {deprecation.since.date().isoformat()}{until}. {deprecation.instead}"
