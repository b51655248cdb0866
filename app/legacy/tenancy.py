"""Which tenant a document belongs to, and what the first pass over a snapshot finds (TEN-1, MIG-0c, decision 40)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from app.legacy.document import moment
from app.legacy.snapshot import Document, Snapshot, SnapshotError

_OWNERS: Final = (
    *("projectId", "templateId", "versionId", "instanceId", "environmentId", "agentId", "operatorId", "roleId"),
    *("taskId", "parentTaskId", "runId", "threadId", "suiteId", "evaluationRunId", "experimentId", "webhookId"),
)
"""Fields that name a row whose tenant is the document's too, the most telling first."""
_FIRST: Final = (
    "tenants",
    "projects",
    "environments",
    "operators",
    "roles",
    "agentTemplates",
    "agentVersions",
    "agents",
)
"""Tables that others take their tenant from, before the others."""
_GLOBAL: Final = frozenset({"permissions"})
"""Tables that ARM kept once for all tenants (RBAC-1)."""
_OF_ITSELF: Final = {
    "tasks": "Task",
    "messages": "Message",
    "telegraphMessages": "TelegraphMessage",
    "orgMembers": "OrgMember",
}
"""Tables whose rows refer to rows of the same table, with their type."""
_NEEDS_PROJECT: Final = frozenset(
    {"tasks", "agents", "agentInstances", "reviews", "savedViews", "orgAssignments", "threadSubscriptions"}
)
_WORK: Final = frozenset(
    {"messages", "runs", "toolCalls", "executionRequests", "agentPerformance", "agentPatterns", "agentDocuments"}
)


@dataclass(frozen=True, slots=True)
class Tenancy:
    """The tenant of the snapshot that is imported; None where the snapshot has only one or none."""

    chosen: str | None
    default: str | None = None
    """The snapshot's tenant called `default`, which documents without any trace of a tenant belong to."""
    of: dict[str, str] = field(default_factory=dict)
    """Tenant of each document, where there are several."""

    known: frozenset[str] = frozenset()
    """The tenants of the snapshot; empty where it has no table of them."""

    def stranger(self, document: Document) -> str | None:
        """The tenant that the document names and that the snapshot does not have."""
        named = document.get("tenantId")
        return named if self.known and isinstance(named, str) and named not in self.known else None

    def owns(self, table: str, document: Document) -> bool:
        """Whether the document is of the tenant that is imported."""
        if self.chosen is None or table in _GLOBAL:
            return True
        return self.tenant_of(table, document) == self.chosen

    def tenant_of(self, table: str, document: Document) -> str | None:
        """The tenant of a document: its own field, else that of a row it names, else the default tenant (TEN-1)."""
        if table == "tenants":
            return str(document["_id"])
        named = document.get("tenantId")
        if isinstance(named, str):
            return named
        for name in _OWNERS:
            owner = document.get(name)
            if isinstance(owner, str) and owner in self.of:
                return self.of[owner]
        return self.default


@dataclass
class Survey:
    """What the first pass found: the whole file was read, and every line is a document."""

    tenancy: Tenancy
    tenant: Document | None
    """The tenant's own document, where the snapshot has one."""
    counts: dict[str, int]
    newest: datetime | None
    """The newest `_creationTime` of the snapshot."""
    ids: dict[str, set[str]]
    """Legacy ids of the tables that refer to themselves, by type."""
    lacks_project: bool
    """Whether a row that needs a project names none."""


def survey(snapshot: Snapshot, slug: str, progress: Callable[[str, int, int | None], None]) -> Survey:
    """Read the whole snapshot once. Raises SnapshotError for a broken file, and where it is unclear which of several
    tenants is meant."""
    tenants = {row["_id"]: row for row in snapshot.documents("tenants")}
    chosen = _choose(tenants, slug)
    several = len(tenants) > 1
    default = next((one for one, row in tenants.items() if row.get("slug") == "default"), None)
    tenancy = Tenancy(chosen if several else None, default, known=frozenset(tenants))
    found = Survey(tenancy, tenants.get(chosen) if chosen else None, {}, None, {}, lacks_project=False)
    newest = 0.0
    named: set[str | None] = set()
    for table in _ordered(snapshot.tables):
        number = 0
        for number, document in enumerate(snapshot.documents(table), start=1):
            if number % 1000 == 0:
                progress(f"Reading {table}", number, None)
            newest = max(newest, document["_creationTime"])
            tenant = document.get("tenantId")
            named.add(tenant if isinstance(tenant, str) else None)
            if several:
                tenancy.of[document["_id"]] = tenancy.tenant_of(table, document) or ""
            if tenancy.owns(table, document):
                _note(found, table, document)
        found.counts[table] = number
    if not tenants and len(named - {None}) > 1:
        raise SnapshotError(
            f"{snapshot.path}: its documents are of {len(named - {None})} tenants, and no table tenants tells them "
            "apart. Export the snapshot with its table tenants."
        )
    found.newest = moment("_creationTime", newest) if newest else None
    return found


def _note(found: Survey, table: str, document: Document) -> None:
    if table in _OF_ITSELF:
        found.ids.setdefault(_OF_ITSELF[table], set()).add(document["_id"])
    if (table in _NEEDS_PROJECT or table in _WORK) and not document.get("projectId"):
        found.lacks_project = True


def _choose(tenants: dict[str, Document], slug: str) -> str | None:
    if len(tenants) <= 1:
        return next(iter(tenants), None)
    matching = [one for one, row in tenants.items() if row.get("slug") == slug]
    if len(matching) == 1:
        return matching[0]
    slugs = ", ".join(sorted(str(row.get("slug")) for row in tenants.values()))
    raise SnapshotError(
        f"The snapshot holds several tenants ({slugs}), and {slug!r} is none of them. "
        "Name the one to import with --tenant; it keeps its slug."
    )


def _ordered(tables: Iterable[str]) -> list[Any]:
    names = list(tables)
    return [one for one in _FIRST if one in names] + [one for one in names if one not in _FIRST]
