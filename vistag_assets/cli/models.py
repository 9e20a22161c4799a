"""The models: which there are, weights made ready, whether they run here, serving one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vistag_assets.cli import console
from vistag_assets.cli.common import HomeOption, TierOption, UsageError, own_home, plain_errors

SHOWN_LETTERS = 160
SHOWN_NAMES = 5


class ServingEngine(StrEnum):
    """Servers that `vistag serve` starts."""

    vllm = "vllm"
    lmdeploy = "lmdeploy"
    trtllm = "trtllm"


def models(
    role: Annotated[str | None, typer.Option(help="Only this role: encoder, detector, ...")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The rows as JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="The page docs/models.md.")] = False,
) -> None:
    """List the models that a tier can name: licence, memory, what they need, what is not carried and why."""
    with plain_errors():
        from dataclasses import asdict

        from resources.models import listing
        from resources.models.registry import registry
        from resources.models.roles import ROLES
        from vistag_assets.cli.model_tables import models_listing, models_on_this_machine

        if role is not None and role not in ROLES:
            raise UsageError(f"There is no role {role!r}. Roles: {', '.join(ROLES)}")
        rows = listing.model_rows(registry(), role)
        if as_json:
            console.say_json([asdict(row) for row in rows])
        elif as_markdown:
            console.put(listing.as_markdown(rows))
        else:
            for part in models_listing(rows, models_on_this_machine()):
                console.out.print(part)


def convert(
    pickle: Annotated[Path, typer.Argument(help="The weights as they are published: .pth, .pt, .bin.")],
    to: Annotated[Path | None, typer.Option(help="The .safetensors file; else beside the pickle.")] = None,
) -> None:
    """Turn weights that are published as a pickle into safetensors, once; no code of the pickle runs.

    The checksums of both files are recorded beside the new one.
    """
    with plain_errors():
        from resources.models.convert import convert as convert_pickle
        from resources.models.convert import default_target, record_of

        target = to or default_target(pickle)
        made, is_new = convert_pickle(pickle, target)
        if not is_new:
            console.say(f"{target} was made of {pickle.name} before, and is as it was then.")
            return
        console.say(f"{target}: {made.tensors:,} tensors, SHA-256 {made.result_sha256}")
        if made.left_out:
            shown = ", ".join(made.left_out[:SHOWN_NAMES])
            console.say(f"Left out, since they are no weights: {len(made.left_out)} ({shown})")
        console.say(f"The checksums of both are in {record_of(target)}")


def doctor(
    tier: TierOption = None,
    image: Annotated[Path | None, typer.Option(help="What to show the models; else a drawn vase.")] = None,
    trace: Annotated[bool, typer.Option(help="Show the traceback of what failed.")] = False,
    home: HomeOption = None,
) -> None:
    """Load each model of a tier, show it one image, and tell what it saw. Ends with 1 where one failed."""
    with plain_errors(), own_home(home) as base:
        from PIL import Image

        from resources.home import read_settings
        from resources.models.tiers import load_tier, model_specs
        from resources.models.tiers.planner import plan
        from resources.workspace import Workspace
        from vistag_assets.cli.doctor import Findings, examine, sample_image, sandbox_of_decoders
        from vistag_assets.cli.model_tables import plan_table, show_examined

        console.say(sandbox_of_decoders())
        settings = read_settings(base)
        workspace = Workspace(base, settings, load_tier(tier or settings.tier))
        if workspace.tier.vram_gib:
            console.out.print(plan_table(plan(model_specs(workspace.tier), workspace.tier.vram_gib)))
        picture = Image.open(image).convert("RGB") if image else sample_image()
        findings = Findings(sorted(set(workspace.taxonomy.pref_labels.values())))
        failed = 0
        for found in examine(workspace, picture, findings):
            show_examined(found)
            failed += bool(found.error)
            if trace and found.trace:
                console.say(found.trace, to=console.err)
        if findings.regions or findings.mask is not None:
            drawn = base.root / "doctor" / f"{workspace.tier.name}.jpg"
            drawn.parent.mkdir(parents=True, exist_ok=True)
            findings.drawn(picture).save(drawn, quality=90)
            console.say(f"What was found, drawn: {drawn}")
        if failed:
            raise UsageError(f"{failed} of the models of the tier {workspace.tier.name} did not run.")


def serve(
    tier: TierOption = None,
    heavy: Annotated[bool, typer.Option("--heavy", help="The model of the heavy lane.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Start it, caption one picture, stop it.")] = False,
    engine: Annotated[
        ServingEngine | None,
        typer.Option("--engine", help="Which server; the tier's `server.program` without it."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Serve the vision-language model of a tier with vLLM, on this machine only; Ctrl-C stops it.

    LMDeploy and TensorRT-LLM (trtllm) are started too; they have not been run on a GPU of ours.
    """
    with plain_errors(), own_home(home) as base:
        from rich.text import Text

        from resources.home import read_settings
        from resources.models.checkpoints import make_model
        from resources.models.tiers import load_tier
        from vistag_assets.automation.processes import tell_ready
        from vistag_assets.cli.doctor import caption, sample_image
        from vistag_assets.cli.serve import serve as run_server
        from vistag_assets.cli.serve import served_spec

        chosen = load_tier(tier or read_settings(base).tier)
        spec = served_spec(chosen, heavy=heavy, engine=engine)
        log = base.root / "logs" / f"serve-{spec.server.port}.log"
        with console.err.status(f"Starting; messages go to {log}") as status:

            def waiting(last_message: str) -> None:
                said = console.printable(last_message[:SHOWN_LETTERS])
                status.update(Text(f"Starting; messages go to {log}\n{said}"))

            def ready() -> bool:
                status.stop()
                tell_ready()
                console.say(f"{spec.name} answers at {spec.server.url}  (Ctrl-C stops it)")
                if check:
                    console.say(caption(make_model(spec, chosen.device), sample_image()))
                return not check

            run_server(spec, log, on_start=console.say, on_wait=waiting, on_ready=ready)
