"""The command line: a module a purpose. What is slow to import is imported inside them."""

import typer

from vistag_assets.cli import (
    adapting,
    benchmarking,
    calibrating,
    console,
    deciding,
    exporting,
    importing,
    keywords,
    looking,
    measuring,
    models,
    reviewing,
    searching,
    tagging,
    verifying,
    vocabulary,
    watching,
)
from vistag_assets.cli.common import LiteralGroup
from vistag_assets.cli.exit import end_quietly

app = typer.Typer(
    cls=LiteralGroup,
    help="Folders of images to tags, measured on the rare ones.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
taxonomy_app = typer.Typer(help="Look at a vocabulary, and let it learn words.", no_args_is_help=True)


@app.callback()
def main() -> None:
    end_quietly()
    console.take_over()


for command in (
    tagging.demo,
    tagging.run,
    searching.search,
    deciding.decide,
    calibrating.calibrate,
    adapting.adapt,
    keywords.keywords,
    watching.watch,
    watching.forget,
    measuring.report,
    measuring.accept,
    measuring.evaluate,
    benchmarking.benchmark,
    models.models,
    models.convert,
    models.doctor,
    models.serve,
    looking.sql,
    looking.tables,
    verifying.verify,
    looking.app,
    looking.dev,
    looking.web,
    looking.daemon,
):
    app.command()(command)

app.command("import")(importing.import_)
app.add_typer(exporting.export_app, name="export")
app.add_typer(reviewing.review_app, name="review")
app.add_typer(taxonomy_app, name="taxonomy")
taxonomy_app.command("check")(vocabulary.taxonomy_check)
taxonomy_app.command("convert")(vocabulary.taxonomy_convert)
taxonomy_app.command("diff")(vocabulary.taxonomy_diff)
taxonomy_app.command("facets")(vocabulary.taxonomy_facets)
taxonomy_app.command("learn")(vocabulary.taxonomy_learn)
taxonomy_app.command("accept")(vocabulary.taxonomy_accept)
taxonomy_app.command("page")(vocabulary.taxonomy_page)
taxonomy_app.command("stats")(vocabulary.taxonomy_stats)
