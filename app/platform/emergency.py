"""`emergencyModes`: which mode is in force where, and who set it (EMG-9)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, cast
from uuid import UUID

import strawberry
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on

from app.auth.permissions import READ_PERMISSION
from app.auth.scope import Scope
from app.graph.context import OperationContext
from app.graph.errors import BadUserInput, Forbidden
from app.graph.fields import computed, described_enum
from app.graph.ids import parse_id_of
from app.graph.registry import ENTITIES
from app.identity.types import Operator, Project
from app.platform.rules import strictest
from app.platform.types import OperatorControl
from db import models
from db.enums import OperatorMode

MOST_PROJECTS: Final = 200
"""Most projects of one answer."""
described_enum(OperatorMode)


@strawberry.enum(description="Where the mode in force comes from (EMG-9).")
class EmergencySource(enum.Enum):
    """The scope whose newest setting holds."""

    PROJECT = strawberry.enum_value("PROJECT", description="The project's own setting.")
    GLOBAL = strawberry.enum_value("GLOBAL", description="The tenant's setting.")
    DEFAULT = strawberry.enum_value("DEFAULT", description="Nobody ever set one: NORMAL.")


@strawberry.type(description="The emergency mode in force for the tenant or for one project (EMG-1, EMG-9).")
class EmergencyMode:
    """What holds in one scope. `control` is the setting that it comes from."""

    project_id: strawberry.Private[UUID | None]
    control: strawberry.Private[Any]
    mode: OperatorMode = strawberry.field(description="The mode: the stricter of the tenant's and the project's.")
    source: EmergencySource = strawberry.field(description="Whose setting it is.")

    @computed("The project; null for what holds in the tenant as a whole.")
    async def project(self, info: strawberry.Info) -> Project | None:
        """The project's row."""
        return cast("Project | None", await _row(info, "Project", self.project_id))

    @computed("Why it was set; null where nobody said, or where none was ever set.")
    def reason(self) -> str | None:
        """The setting's reason."""
        return None if self.control is None else cast("str | None", self.control.reason)

    @computed("Who set it; null for the gateway itself, and where none was ever set.")
    async def updated_by(self, info: strawberry.Info) -> Operator | None:
        """The operator's row."""
        operator = None if self.control is None else self.control.updated_by_operator_id
        return cast("Operator | None", await _row(info, "Operator", operator))

    @computed("When it was set; null where none was ever set.")
    def updated_at(self) -> datetime | None:
        """The setting's time."""
        return None if self.control is None else cast("datetime", self.control.updated_at)

    @computed("The setting itself; the history is the list `operatorControls`.")
    async def operator_control(self, info: strawberry.Info) -> OperatorControl | None:
        """The setting's row."""
        control = None if self.control is None else self.control.id
        return cast("OperatorControl | None", await _row(info, "OperatorControl", control))


async def _row(info: strawberry.Info, name: str, row_id: UUID | None) -> Any:
    if row_id is None:
        return None
    return await cast("OperationContext", info.context).loaders.row(ENTITIES[name]).load(row_id)


def in_force(own: Mapping[UUID | None, Any], project_id: UUID | None) -> EmergencyMode:
    """EMG-1, EMG-9. The mode of a scope by the newest settings: the stricter holds, the project's own where equal."""
    scopes = (None,) if project_id is None else (project_id, None)
    found = [own[scope] for scope in scopes if scope in own]
    mode = strictest(one.mode for one in found)
    control = next((one for one in found if one.mode is mode), None)
    source = EmergencySource.DEFAULT
    if control is not None:
        source = EmergencySource.GLOBAL if control.project_id is None else EmergencySource.PROJECT
    return EmergencyMode(project_id=project_id, control=control, mode=mode, source=source)


@computed(
    "The emergency mode in force now: of the tenant, and of each project that the caller may see. At most"
    f" {MOST_PROJECTS} projects, the oldest first; others by their ids. The history is the list `operatorControls`."
    " Needs `read:control`."
)
async def emergency_modes(
    info: strawberry.Info,
    project_ids: Annotated[
        list[strawberry.ID] | None,
        strawberry.argument(description=f"Only these projects, at most {MOST_PROJECTS}; unknown ones are left out."),
    ] = None,
) -> list[EmergencyMode]:
    """Two statements. FORBIDDEN without the permission; a caller with a scope sees the projects in it."""
    context = cast("OperationContext", info.context)
    reach = context.actor.read_scope("OperatorControl")
    if not reach:
        raise Forbidden(READ_PERMISSION["OperatorControl"])
    if project_ids is not None and len(project_ids) > MOST_PROJECTS:
        raise BadUserInput(f"`projectIds` has {len(project_ids)} ids, at most {MOST_PROJECTS} are taken.", "projectIds")
    projects, controls = models.Project.__table__, models.OperatorControl.__table__
    wanted = select(projects.c.id).where(context.reader.tenant(projects))  # type: ignore[arg-type]
    if project_ids is not None:
        ids = [parse_id_of("prj", "Project", one, f"projectIds[{at}]") for at, one in enumerate(project_ids)]
        wanted = wanted.where(projects.c.id.in_(ids))
    if isinstance(reach, Scope):
        wanted = wanted.where(projects.c.id.in_(reach.projects))
    newest = (
        select(controls)
        .ext(distinct_on(controls.c.project_id))
        .where(context.reader.tenant(controls))  # type: ignore[arg-type]
        .order_by(controls.c.project_id, controls.c.id.desc())
    )
    own = {row.project_id: row for row in await context.reading.rows(newest)}
    rows = await context.reading.rows(wanted.order_by(projects.c.id).limit(MOST_PROJECTS))
    whole = [] if isinstance(reach, Scope) else [in_force(own, None)]
    return [*whole, *(in_force(own, row.id) for row in rows)]


FIELDS = (emergency_modes,)
