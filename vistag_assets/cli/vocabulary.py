"""Vocabularies: what is in one, what is wrong with it, and other forms of it."""

from __future__ import annotations

import getpass
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vistag_assets.cli import console
from vistag_assets.cli.common import HomeOption, UsageError, home_of, own_home, plain_errors

if TYPE_CHECKING:
    from taxonomy import Taxonomy

MOST_TOLD = 50
FileArgument = Annotated[
    Path, typer.Argument(help="SKOS (.ttl .rdf .jsonld .nt .trig), .csv, .tsv, or a keyword list (.txt).")
]
FacetsOption = Annotated[
    Path | None,
    typer.Option(help="What the facets are (.yaml); else the facets.yaml beside the vocabulary."),
]
LanguageOption = Annotated[
    str | None, typer.Option(help="Languages to show labels in, best first: nl,en. English if not said.")
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(help="HEADING=FIELD of a spreadsheet, as in Term=pref_label; may be given again."),
]


def languages_of(option: str | None) -> tuple[str, ...]:
    """Tags of --language; none where it is not given."""
    from taxonomy.languages import plain_tag

    return tuple(plain_tag(tag) for tag in (option or "").split(",") if tag.strip())


def columns_of(option: list[str] | None) -> dict[str, str]:
    """Heading -> field of --column. Raises UsageError."""
    pairs = [text.rpartition("=") for text in option or ()]
    if wrong := [
        text
        for (heading, _, field), text in zip(pairs, option or (), strict=True)
        if not heading or not field
    ]:
        raise UsageError(f"--column {wrong[0]}: give HEADING=FIELD, as in Term=pref_label")
    return {heading.strip(): field.strip() for heading, _, field in pairs}


def loaded(
    file: Path | None, facets: Path | None, language: str | None = None, column: list[str] | None = None
) -> Taxonomy:
    """The vocabulary of a file, as the options say; the starter's where there is none."""
    from taxonomy import STARTER, load_taxonomy
    from taxonomy.languages import ENGLISH

    languages = languages_of(language) or ENGLISH
    return load_taxonomy(file or STARTER, facets, languages=languages, columns=columns_of(column))


def taxonomy_check(
    file: FileArgument,
    facets: FacetsOption = None,
    language: LanguageOption = None,
    column: ColumnOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse what would be mended.")] = False,
    tier: Annotated[
        str | None, typer.Option(help="Say too which labels the models of this tier cut or are not asked.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="List everything, not the first of each kind.")
    ] = False,
) -> None:
    """Say whether a vocabulary can be used, and what is wrong with it in which line."""
    with plain_errors():
        from taxonomy import check_report
        from taxonomy.languages import ENGLISH
        from taxonomy.problems import SHOWN

        how: dict[str, Any] = {"languages": languages_of(language) or ENGLISH, "columns": columns_of(column)}
        console.say(check_report(file, facets, shown=None if every else SHOWN, strict=strict, **how))
        if tier:
            _tell_what_models_read(loaded(file, facets, language, column), tier, None if every else MOST_TOLD)


def _tell_what_models_read(taxonomy: Taxonomy, tier: str, most: int | None) -> None:
    from itertools import islice

    from resources.models.askable import alike, cut_labels
    from resources.models.checkpoints import make_model
    from resources.models.tiers import load_tier

    chosen = load_tier(tier)
    told = list(islice(cut_labels(taxonomy, chosen), most))
    for cut in told:
        console.say(str(cut))
    if len(told) == most:
        console.say("and perhaps more: --all lists them")
    pairs = alike(taxonomy, make_model(chosen.encoder, "cpu")) if taxonomy.homographs else []
    for one, other, cosine in pairs[:most]:
        console.say(f'the encoder cannot tell "{one}" and "{other}" apart (cosine {cosine:.3f}): define them')
    if not told and not pairs:
        console.say(f"The models of {chosen.name} read every label whole.")


def taxonomy_convert(
    file: FileArgument,
    to: Annotated[Path, typer.Argument(help="What to write: .ttl .rdf .jsonld .nt .trig .csv .txt")],
    facets: FacetsOption = None,
    language: LanguageOption = None,
    column: ColumnOption = None,
) -> None:
    """Write a vocabulary in another format, with all that vistag read of it."""
    with plain_errors():
        from taxonomy import write_taxonomy

        if to.exists():
            raise UsageError(f"{to} is there already: give another name, or remove it")
        found = loaded(file, facets, language, column)
        write_taxonomy(found, to)
        tell_what_was_mended(file, found)
        console.say(f"{to}: {len(found.concepts):,} concepts, fingerprint {found.fingerprint}")


def taxonomy_stats(
    file: Annotated[Path | None, typer.Argument(help="Else the starter vocabulary.")] = None,
    facets: FacetsOption = None,
    language: LanguageOption = None,
    column: ColumnOption = None,
) -> None:
    """Count concepts, labels and definitions by facet, and labels by language."""
    with plain_errors():
        from rich.table import Table

        from taxonomy import stats

        found = stats(loaded(file, facets, language, column))
        table = Table(*found.HEADER)
        for row in found.rows():
            table.add_row(*row)
        console.out.print(table)
        for line in found.lines():
            console.say(line)


def taxonomy_facets(file: FileArgument, language: LanguageOption = None, column: ColumnOption = None) -> None:
    """Propose which branches and collections of a vocabulary are of which facet, as YAML on standard output."""
    with plain_errors():
        from taxonomy.facet_proposal import propose_facets
        from taxonomy.languages import ENGLISH

        console.put(propose_facets(file, languages_of(language) or ENGLISH, columns_of(column)))


def taxonomy_diff(
    old: Annotated[Path, typer.Argument(help="A vocabulary.")],
    new: Annotated[Path, typer.Argument(help="A later state of it.")],
    facets: FacetsOption = None,
    language: LanguageOption = None,
    column: ColumnOption = None,
) -> None:
    """Say what was added, removed, relabelled and moved, and what will be computed again."""
    with plain_errors():
        from taxonomy.differences import differences

        before, now = (loaded(file, facets, language, column) for file in (old, new))
        for line in differences(before, now).lines():
            console.say(line)


def taxonomy_page(home: HomeOption = None) -> None:
    """Write a page of the vocabulary of a home: a tree with the number of images, and some of them."""
    with plain_errors():
        from resources.workspace import open_workspace
        from vistag_assets.gallery.vocabulary_page import write_vocabulary_page

        console.say(f"Vocabulary: {write_vocabulary_page(open_workspace(home_of(home)))}")


def taxonomy_learn(
    to: Annotated[
        Path | None, typer.Option(help="Where the diff is written (.ttl); else in the home.")
    ] = None,
    least: Annotated[int, typer.Option(min=1, help="Pictures that words must have been used of.")] = 1,
    home: HomeOption = None,
) -> None:
    """Propose labels from the words that people used and the vocabulary has no concept for: a diff, to be reviewed.

    The vocabulary stays as it is until vistag taxonomy accept is given the diff.
    """
    with plain_errors(), own_home(home) as base:
        from resources.workspace import open_workspace
        from vistag_assets.review.learning import propose

        learned, path = propose(open_workspace(base), to, least)
        for words, ids in learned.known:
            console.say(f"{words!r} is a label of {', '.join(ids)}: nothing to learn.")
        if learned.decided:
            console.say(f"{len(learned.decided):,} were decided before: {', '.join(learned.decided[:8])}.")
        for proposal in learned.proposals:
            console.say(f"{proposal.words!r} as {proposal.kind} of {proposal.concept_id}: {proposal.told}")
            for conflict in proposal.conflicts:
                console.say(f"  but: {conflict}")
        if learned.proposals:
            console.say(f"{len(learned.proposals):,} labels are proposed in {path}: decide each there, then")
            console.say(f"vistag taxonomy accept {shlex.quote(str(path))}")
        else:
            console.say("No words are left that the vocabulary could learn.")


def taxonomy_accept(
    diff: Annotated[Path, typer.Argument(help="What vistag taxonomy learn wrote, decided by a person.")],
    to: Annotated[
        Path | None, typer.Option(help="The copy of the vocabulary (.ttl); else in the home.")
    ] = None,
    use: Annotated[bool, typer.Option("--use", help="The home works with the copy from now on.")] = False,
    by: Annotated[str | None, typer.Option(help="Who decided; else the name of the user.")] = None,
    home: HomeOption = None,
) -> None:
    """Put accepted labels into a copy of the home's vocabulary, with who said them when. Its own file stays as it is."""
    with plain_errors(), own_home(home) as base:
        from resources.workspace import open_workspace
        from vistag_assets.review.learning import accept

        done = accept(open_workspace(base), diff, to, by or getpass.getuser(), use=use)
        told = ", ".join(f"{done.counts[name]:,} {name}" for name in ("accept", "reject", "undecided"))
        console.say(f"{diff}: {told}.")
        if not done.counts["accept"]:
            console.say("Nothing was accepted: the vocabulary stays as it is.")
            return
        console.say(f"{done.path}: {done.source} and the accepted labels.")
        if use:
            console.say("The home works with it; the next run embeds the new labels and scores tags again.")
        else:
            console.say(
                f"See what changes: vistag taxonomy diff {done.source} {done.path}. --use works with it."
            )


def tell_what_was_mended(file: Path, taxonomy: Taxonomy) -> None:
    """A line a kind, on standard error."""
    from taxonomy.problems import summary

    for line in summary(file, taxonomy.flaws, shown=0):
        if not line.startswith(" "):
            console.say(f"{file}: {line}", to=console.err)
