"""Mutations of saved views and watches."""

from __future__ import annotations

from app.graph.inputs import given, input_type
from app.graph.mutation import Shown, mutation, shown_id
from app.graph.scalars import JSON
from app.platform.commands import views
from app.platform.types import SavedView, WatchSubscription
from db.enums import SavedViewScope


@input_type
class SavedViewCreateInput:
    """A filter to keep."""

    project_id: str = given("Project whose rows it filters.", id_of="Project")
    name: str = given("Display name.", longest=100)
    scope: SavedViewScope = given("Page of the application that it belongs to.")
    filters: JSON = given(f"The filter as the page wrote it: an object of at most {views.LARGEST_FILTERS} bytes.")
    description: str | None = given("What it is for.", longest=500)
    is_shared: bool = given("Whether the project's other members see it.", default=False)


@input_type
class SavedViewUpdateInput:
    """What changes on a view of one's own; what is left out stays."""

    view_id: str = given("The view.", id_of="SavedView")
    name: str | None = given("Display name.", longest=100)
    filters: JSON | None = given("The filter, all of it.")
    description: str | None = given("What it is for.", longest=500)
    is_shared: bool | None = given("Whether the project's other members see it.")


@input_type
class SavedViewDeleteInput:
    """Which view goes."""

    view_id: str = given("The view, one's own.", id_of="SavedView")


@input_type
class WatchToggleInput:
    """What to watch, or to watch no more."""

    entity_id: str = given("A task, an approval record, an agent, a project or a deployment.", id_of="Node")
    watching: bool | None = given("Which way; the other way than now if nothing is said.")


FIELDS = (
    mutation("saved_view_create", views.create_saved_view, SavedViewCreateInput, SavedView),
    mutation("saved_view_update", views.update_saved_view, SavedViewUpdateInput, SavedView),
    mutation(
        "saved_view_delete",
        views.delete_saved_view,
        SavedViewDeleteInput,
        None,
        shows=(shown_id("view_id", "SavedView", "Id of the view that is gone."),),
    ),
    mutation(
        "watch_toggle",
        views.toggle_watch,
        WatchToggleInput,
        WatchSubscription,
        shows=(Shown("watching", bool, "Whether it is watched now."),),
    ),
)
