"""One table of roles: tiers, the workspace, the registry and the doctor know those of it and no others."""

from __future__ import annotations

from typing import get_args

import pytest

from resources.models.checkpoints import RoleSpec
from resources.models.registry import HERE, registry
from resources.models.roles import ROLES
from resources.models.tiers import Tier
from resources.workspace import Workspace
from vistag_assets.cli.doctor import EXAMINATIONS

OF_TIERS = {name: role.spec for name, role in ROLES.items() if role.spec}
SECOND_LANE = {"heavy_vlm": "vlm"}


def spec_of(field: str) -> type[RoleSpec] | None:
    """What a field of a tier says of a model; None for a field that says something else."""
    annotation = Tier.model_fields[field].annotation
    kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
    return next((kind for kind in kinds if issubclass(kind, RoleSpec)), None)


def test_each_role_has_a_table_of_models_and_each_table_a_role() -> None:
    assert {path.stem for path in HERE.glob("*.yaml")} == ROLES.keys()
    assert {family.role for family in registry().families} <= ROLES.keys()


def test_a_tier_has_a_field_for_each_role_that_says_what_the_table_says() -> None:
    specs = {field: spec for field in Tier.model_fields if (spec := spec_of(field))}
    assert [SECOND_LANE.get(field, field) for field in specs if field not in SECOND_LANE] == list(OF_TIERS)
    assert all(spec is OF_TIERS[SECOND_LANE.get(field, field)] for field, spec in specs.items())


@pytest.mark.parametrize("role", OF_TIERS)
def test_a_spec_knows_its_role_and_a_workspace_makes_its_model(role: str) -> None:
    spec = OF_TIERS[role]
    assert spec.role == role
    assert role in vars(Workspace)
    assert role in EXAMINATIONS
