"""Templates, versions and identities (MIG-8, MIG-9); instances come with their agents, in app.legacy.agents."""

import hashlib
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from app.legacy.document import Doc, member, whole, words
from app.legacy.genomes import hashed, is_intact, of_version
from app.legacy.mapping import Listed, Mapping, key, person, renamed
from app.legacy.world import World
from db.enums import EvalStatus
from db.models import AgentIdentity, AgentTemplate, AgentTemplateOwner, AgentVersion


def _owners(doc: Doc, world: World) -> Sequence[UUID]:
    """The owners who are operators here; the others stay in the metadata (MIG-9)."""
    named = doc.peek("ownerIds") or doc.peek("owners") or []
    found = [world.operator(one) if isinstance(one, str) else None for one in named] if isinstance(named, list) else []
    if all(found):
        doc.take("ownerIds", "owners")
    return [one for one in found if one is not None]


def _template_metadata(doc: Doc, world: World) -> dict[str, Any]:
    slug = doc.take("slug")
    return {"slug": slug} if slug is not None else {}


TEMPLATES: Final = Mapping(
    "agentTemplates",
    AgentTemplate,
    {"default_role": renamed("defaultRole", "role")},
    listed=(Listed(AgentTemplateOwner, "template_id", "operator_id", _owners),),
    more=_template_metadata,
)

_MC_SOURCE: Final = "legacy-version"


def _genome(doc: Doc, world: World) -> dict[str, Any]:
    return of_version(doc.take("genome"), doc.created)


def _hash(doc: Doc, world: World) -> str:
    return hashed(_genome(doc, world))


def _number(doc: Doc, world: World) -> int | None:
    value = doc.take("versionNumber", "version")
    return None if value is None or isinstance(value, str) else whole("version", value, bits=32)


def _label(doc: Doc, world: World) -> str | None:
    """The version's label; a bare number N reads v1.0.0 for 1, so that it is a label like all others (VER-6)."""
    label, number = doc.take("versionLabel", "label"), doc.take("versionNumber", "version")
    if label is None and isinstance(number, str):
        label = number
    if label is None and number is not None:
        label = f"v{whole('version', number)}.0.0"
    return None if label is None else words("versionLabel", label)


def _eval_status(doc: Doc, world: World) -> EvalStatus:
    given = doc.take("evalStatus")
    return EvalStatus(member("evalStatus", given, EvalStatus)) if given is not None else EvalStatus.NOT_RUN


def _version_metadata(doc: Doc, world: World) -> dict[str, Any]:
    """The recorded hash and whether the genome still has it; what the new shape leaves out (MIG-8, MIG-9)."""
    genome, recorded = doc.take("genome"), doc.take("genomeHash")
    from_mc = "toolManifestHash" in genome or "status" in doc.values
    found: dict[str, Any] = {"legacyGenomeHash" if from_mc else "armGenomeHash": recorded, "legacyGenome": genome}
    if not genome.get("toolManifest"):
        found["source"] = _MC_SOURCE
    if recorded is not None and not is_intact(genome, recorded):
        found["importedIntegrity"] = "TAMPERED"
        world.report.note(f"The genome of version {doc.id} is not the one that was hashed: it counts as TAMPERED")
    return found


VERSIONS: Final = Mapping(
    "agentVersions",
    AgentVersion,
    {
        "genome": _genome,
        "genome_hash": _hash,
        "lifecycle_state": renamed("lifecycleState", "status"),
        "version_number": _number,
        "version_label": _label,
        "eval_status": _eval_status,
        "created_by_operator_id": person("createdBy"),
    },
    more=_version_metadata,
)


def _template_of_identity(doc: Doc, world: World) -> UUID:
    """The identity's template: its own field, else that of its agent's version."""
    if doc.peek("templateId") is not None:
        return world.keys.need("AgentTemplate", "templateId", doc.take("templateId"))
    agent = world.keys.need("AgentInstance", "agentId", doc.peek("instanceId") or doc.peek("agentId"))
    return world.facts.version_template[world.facts.instance_version[agent]]


def _soul_hash(doc: Doc, world: World) -> str | None:
    """SHA-256 of the soul; Mission Control's was a shorter one (IDN-2)."""
    soul = doc.peek("soulContent")
    return hashlib.sha256(soul.encode()).hexdigest() if isinstance(soul, str) else doc.take("soulHash")


def _identity_of(doc: Doc, world: World) -> UUID | None:
    """A template has one identity; where several agents of it have their own, those are their instances' (C3)."""
    template = _template_of_identity(doc, world)
    agent = doc.take("instanceId", "agentId")
    if template not in world.identified:
        world.identified.add(template)
        return None
    return key("AgentInstance", "instanceId", "agentId")(doc, world) if agent is not None else None


def _identity_metadata(doc: Doc, world: World) -> dict[str, Any]:
    doc.take("versionId", "legacyAgentId")
    found = {"legacyAgentId": doc.peek("agentId") or doc.peek("legacyAgentId")}
    if isinstance(doc.peek("soulContent"), str) and doc.peek("soulHash") is not None:
        found["legacySoulHash"] = doc.take("soulHash")
    return {name: value for name, value in found.items() if value is not None}


IDENTITIES: Final = Mapping(
    "agentIdentities",
    AgentIdentity,
    {
        "template_id": _template_of_identity,
        "instance_id": _identity_of,
        "soul_hash": _soul_hash,
        "tools_content": renamed("toolsContent", "toolsNotes"),
        "compliance_status": renamed("complianceStatus", "validationStatus"),
        "last_scan_at": renamed("lastScanAt", "lastScannedAt"),
    },
    more=_identity_metadata,
)
