"""The command line: a module a purpose. What is slow to import is imported inside them."""

import typer

from vistag_assets.cli import calibrating, deciding, looking, measuring, models, tagging, verifying, watching
from vistag_assets.cli.exit import end_quietly

app = typer.Typer(
    help="Folders of images to tags, measured on the rare ones.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
taxonomy_app = typer.Typer(help="Look at a vocabulary.", no_args_is_help=True)


@app.callback()
def main() -> None:
    end_quietly()


for command in (
    tagging.demo,
    tagging.run,
    deciding.decide,
    calibrating.calibrate,
    watching.watch,
    watching.forget,
    measuring.report,
    measuring.accept,
    measuring.evaluate,
    models.models,
    models.doctor,
    models.serve,
    looking.sql,
    looking.tables,
    verifying.verify,
    looking.dev,
    looking.web,
    looking.daemon,
):
    app.command()(command)

app.add_typer(taxonomy_app, name="taxonomy")
taxonomy_app.command("check")(looking.taxonomy_check)
taxonomy_app.command("stats")(looking.taxonomy_stats)
