"""The pages that people write: their links lead somewhere, and what they list is what the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.http.metrics import Metrics
from app.jobs.all import JOBS
from app.settings import Settings
from db import roles

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "bench/README.md", *(ROOT / "docs").glob("*.md")])
_LINK = re.compile(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)")


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text()):
        found = page.parent / target if target else page
        assert found.exists(), f"{target} of {page.name} does not exist"
        if anchor:
            assert anchor in _anchors(found), f"{target}{anchor} of {page.name} does not exist"


def test_every_page_of_the_reference_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in readme, page.name


def test_the_operations_page_lists_the_metrics_that_there_are() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    families = Metrics().registry.collect()
    there_are = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    for module in (ROOT / "app").rglob("*.py"):  # gauges are added where what they show is known
        there_are |= {f"fleetgraph_{name}" for name in re.findall(r'\.gauge\("(\w+)"', module.read_text())}
    assert len(there_are) > 4
    assert set(re.findall(r"^\| `(fleetgraph_\w+)` \|", page, re.MULTILINE)) - set(roles_named()) == there_are


def roles_named() -> tuple[str, ...]:
    """The database roles, whose names begin as the metrics' do."""
    return roles.OWNER, roles.GATEWAY, roles.PLATFORM


def test_the_operations_page_lists_the_jobs_and_roles_that_there_are() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    section = page.split("## Jobs")[1].split("\n## ")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE) == [job.name for job in JOBS]
    for role in roles_named():
        assert f"| `{role}` |" in page


def test_the_pages_name_no_setting_that_does_not_exist() -> None:
    known = set(Settings.__struct_encode_fields__) | {"FLEETGRAPH_BENCH_DIR"}
    for page in PAGES:
        named = set(re.findall(r"FLEETGRAPH_[A-Z_]+[A-Z]", page.read_text()))
        assert named <= known, f"{page.name}: {named - known}"
