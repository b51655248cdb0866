"""`search`: tasks, messages, requests for approval and agents by their words, each kind one statement (TASK-6)."""

from __future__ import annotations

from typing import Annotated, Any, Final, cast

import strawberry
from sqlalchemy import Uuid, column, func, or_, select, text
from sqlalchemy.sql import ColumnElement

from app.auth.permissions import READ_PERMISSION
from app.execution.searching import FEWEST_CHARACTERS, LONGEST, query_of, seen_hits, task_hits, words_of
from app.execution.types import Message, Task
from app.governance.types import ApprovalRecord
from app.graph.context import OperationContext
from app.graph.errors import Forbidden
from app.graph.fields import computed
from app.graph.ids import parse_id_of
from app.graph.registry import ENTITIES
from app.registry.types import AgentInstance

MOST_TASKS: Final = 50
MOST_MESSAGES: Final = 20
MOST_APPROVALS: Final = 20
MOST_INSTANCES: Final = 10
_KINDS: Final = ("Task", "Message", "ApprovalRecord", "AgentInstance")
_SIMPLE: Final = text("'simple'::regconfig")


@strawberry.type(description="What has the words that were looked for; each kind is read only if it is asked for.")
class SearchResult:
    """The hits, kind by kind."""

    text: strawberry.Private[str]
    project: strawberry.Private[Any]

    @computed(
        f"Tasks, those with the words in their title first, then the newest; at most {MOST_TASKS}.", most=MOST_TASKS
    )
    async def tasks(self, info: strawberry.Info) -> list[Task]:
        """Needs `read:tasks`."""
        hits = task_hits(self.text)
        is_seen, in_title = seen_hits(cast("OperationContext", info.context), hits, self.text)
        return await self._rows(info, "Task", MOST_TASKS, hits, in_title.desc(), is_seen)

    @computed(f"Messages of threads, the newest first, at most {MOST_MESSAGES}.", most=MOST_MESSAGES)
    async def messages(self, info: strawberry.Info) -> list[Message]:
        """Needs `read:messages`. What is hidden from others is not looked at (PII-4)."""
        entity = ENTITIES["Message"]
        assert entity.hiding is not None  # noqa: S101 - messages hide
        is_listed = entity.hiding.listed(entity.table, "content")
        is_looked_at = or_(entity.table.c.content_redacted.is_not(None), ~is_listed)
        return await self._rows(info, "Message", MOST_MESSAGES, self._hits("search_messages"), None, is_looked_at)

    @computed(f"Requests for approval, the newest first, at most {MOST_APPROVALS}.", most=MOST_APPROVALS)
    async def approvals(self, info: strawberry.Info) -> list[ApprovalRecord]:
        """Needs `read:approvals`."""
        return await self._rows(info, "ApprovalRecord", MOST_APPROVALS, self._hits("search_approvals"))

    @computed(f"Agents by name, the newest first, at most {MOST_INSTANCES}.", most=MOST_INSTANCES)
    async def instances(self, info: strawberry.Info) -> list[AgentInstance]:
        """Needs `read:instances`."""
        table = ENTITIES["AgentInstance"].table
        named = func.to_tsvector(_SIMPLE, func.coalesce(table.c.name, "")).op("@@")(query_of(self.text))
        return await self._rows(info, "AgentInstance", MOST_INSTANCES, None, None, named)

    def _hits(self, function: str) -> Any:
        return getattr(func.gateway, function)(query_of(self.text)).table_valued(column("id", Uuid), name="hit")

    async def _rows(
        self,
        info: strawberry.Info,
        name: str,
        most: int,
        hits: Any,
        order: Any = None,
        *conditions: ColumnElement[bool],
    ) -> list[Any]:
        context, entity = cast("OperationContext", info.context), ENTITIES[name]
        if not context.actor.may_read(name):
            raise Forbidden(READ_PERMISSION[name])
        table = entity.table
        own = [] if self.project is None else [table.c.project_id == self.project]
        source = table if hits is None else table.join(hits, hits.c.id == table.c.id)
        statement = (
            select(*table.columns)
            .select_from(source)
            .where(*context.reader.visible(entity), *own, *conditions)
            .order_by(*([] if order is None else [order]), table.c.id.desc())
            .limit(most)
        )
        return [entity.row(*row) for row in await context.reading.rows(statement)]


@computed(
    "Tasks, messages, requests for approval and agents that have every word of the text, each as the beginning of a"
    " word and in any case (TASK-6). Each kind needs the permission to read it. Filters over tasks: `taskSearch`."
)
def search(
    info: strawberry.Info,
    text: Annotated[
        str,
        strawberry.argument(
            description=f"What to look for, {FEWEST_CHARACTERS} letters or digits to {LONGEST} characters."
        ),
    ],
    project_id: Annotated[
        strawberry.ID | None,
        strawberry.argument(description="Only in this project; everywhere if nothing is said."),
    ] = None,
) -> SearchResult:
    """BAD_USER_INPUT for a text that has nothing to look for, FORBIDDEN where the caller may read none of the kinds."""
    words_of(text)
    actor = cast("OperationContext", info.context).actor
    if not any(map(actor.may_read, _KINDS)):
        raise Forbidden(READ_PERMISSION[_KINDS[0]])
    project = None if project_id is None else parse_id_of("prj", "Project", project_id, "projectId")
    return SearchResult(text=text, project=project)


FIELDS: Final = (search,)
