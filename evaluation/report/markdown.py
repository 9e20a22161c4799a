"""Renders the report as Markdown, for the metadata of an asset."""

from evaluation.history import Compared
from evaluation.metrics.bands import LVIS_BANDS, RARE_BAND
from evaluation.metrics.grounding import IOU_NAMES
from evaluation.metrics.phrase_grounding import PhraseFigure
from evaluation.metrics.recall_at_k import HEADLINE_K, KS
from evaluation.report import changes, sections, view
from evaluation.report.reliability import calibration_sentence
from resources.markdown import markdown_table, plain_text

_SHOWN_TAGS = 20


def render_markdown(report: view.LongTailReport) -> str:
    """The headline, the band and recall tables, the rare tags that are lost, and how all that was made."""
    parts = [
        f"**{view.headline(report.tags)}**",
        view.consequence(report),
        _band_table(report),
        _changes(report),
        _recall_table(report),
        _ladder(report),
        _regions(report),
        _parts(report),
        sections.lane_sentence(report),
        _lanes(report),
        _missed_tags(report),
        calibration_sentence(report.tag_figures.calibration),
        _zero_support(report),
        _whole_vocabulary(report),
        _provenance(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _band_table(report: view.LongTailReport) -> str:
    titles = ("Band", "Tags", "Images that carry a tag", "True tags", f"Recall@{HEADLINE_K}", "95 % interval")
    return markdown_table(
        (*titles, "Macro", "Ceiling", "mAP", f"F1@{HEADLINE_K}"),
        (
            (
                row.name,
                f"{row.tags:,}",
                row.edges,
                f"{row.headline.support:,}",
                f"**{view.percent(row.headline.micro, 1)}**",
                view.interval(row.headline.ci95),
                view.percent(row.headline.macro, 1),
                view.percent(row.headline.ceiling, 1),
                f"{row.mean_average_precision:.3f}",
                f"{row.f1.micro:.3f}",
            )
            for row in (*view.band_rows(report.tags), *view.band_rows(report.tags, LVIS_BANDS))
        ),
    )


def _recall_table(report: view.LongTailReport) -> str:
    return markdown_table(
        ("Micro recall (macro)", *(f"@{k}" for k in KS)),
        (
            (
                row.name,
                *(f"{view.percent(f.micro, 1)} ({view.percent(f.macro, 1)})" for f in row.by_k.values()),
            )
            for row in view.band_rows(report.tags)
        ),
    )


def _ladder(report: view.LongTailReport) -> str:
    if not report.figures.ladder:
        return ""
    titles = ("Option", f"Tail recall@{HEADLINE_K}", "against A2, points", f"Overall recall@{HEADLINE_K}")
    table = markdown_table(
        (*titles, "Regions at IoU 0.5, tail", "overall", "Time an image"),
        (
            (
                f"{row.option} {sections.OPTION_NAMES[row.option]}",
                view.share(row.tag_recall_tail),
                "–" if row.tail_gain is None else view.signed_points(row.tail_gain),
                view.share(row.tag_recall_overall),
                view.share(row.grounding_recall_tail),
                view.share(row.grounding_recall_overall),
                view.seconds(row.seconds_per_image),
            )
            for row in report.figures.ladder
        ),
    )
    return "\n\n".join(part for part in (sections.ladder_verdict(report), table) if part)


def _regions(report: view.LongTailReport) -> str:
    rows = sections.grounding_rows(report)
    if not rows:
        return ""
    return markdown_table(
        (
            *("Regions found", "True regions", *(f"IoU {iou}" for iou in IOU_NAMES)),
            *(("Phrases", "best region right") if report.figures.phrases else ()),
        ),
        (
            (
                row.name,
                f"{row.support:,}",
                *(f"{view.percent(f.micro, 1)} ({view.interval(f.ci95)})" for f in row.by_iou.values()),
                *_phrase_cells(row.phrases),
            )
            for row in rows
        ),
    )


def _phrase_cells(found: PhraseFigure | None) -> tuple[str, ...]:
    if found is None:
        return ()
    return f"{found.support:,}", f"{view.percent(found.micro, 1)} ({view.interval(found.ci95)})"


def _parts(report: view.LongTailReport) -> str:
    cards = sections.part_cards(report)
    if not cards:
        return ""
    return markdown_table(
        ("Masks and texts", "", "95 % interval", ""),
        ((card.title, f"**{card.value}**", card.range, card.note) for card in cards),
    )


def _lanes(report: view.LongTailReport) -> str:
    if not report.figures.texts.lanes:
        return ""
    titles = ("Lane", "Images", f"Tag recall@{HEADLINE_K}", "Objects named by the caption")
    return markdown_table(
        (*titles, "by the description", "Objects invented by the description"),
        (
            (
                name,
                f"{lane.images:,}",
                view.share(lane.tag_recall),
                view.share(sections.named(lane.captions)),
                view.share(sections.named(lane.descriptions)),
                view.share(sections.invented(lane.descriptions)),
            )
            for name, lane in report.figures.texts.lanes.items()
        ),
    )


def _changes(report: view.LongTailReport) -> str:
    return comparison_markdown(report.compared) if report.compared else ""


def comparison_markdown(compared: Compared) -> str:
    """The verdict, the bands, and the rare tags that changed."""
    titles = (f"Recall@{compared.comparison.k}", "True tags in both", "Before", "Now", "Difference, points")
    table = markdown_table(
        (*titles, "95 % interval", "Real"),
        (
            (
                change.band,
                f"{change.support:,}",
                view.percent(change.before, 1),
                view.percent(change.after, 1),
                f"**{view.signed_points(change.difference, 1)}**",
                changes.points_interval(change.ci95),
                "yes" if change.is_real else "could be chance" if change.has_changed else "the same",
            )
            for change in compared.comparison.bands
        ),
    )
    rare = [row for row in changes.changed_tags(compared) if row["band"] == RARE_BAND]
    names = [
        f"{plain_text(row['label'])} ({row['before']:,} to {row['after']:,} of {row['images']:,})"
        for row in rare
    ]
    runs = f"Before: {compared.before.run}, now: {compared.after.run}."
    differs = f" What differs: {plain_text('; '.join(changes.what_differs(compared)))}."
    return "\n\n".join(
        (
            f"**{changes.verdict(compared)}** {runs}{differs if changes.what_differs(compared) else ''}",
            *([table] if compared.comparison.bands else ()),
            *([f"**Rare tags that changed** (images): {_listing(names)}"] if names else ()),
        )
    )


def _missed_tags(report: view.LongTailReport) -> str:
    missed = view.missed_tags(report)
    lost = [f"{plain_text(tag.label)} ({tag.images:,})" for tag in missed if tag.found == 0]
    at_times = [
        f"{plain_text(tag.label)} ({tag.found:,} of {tag.images:,}{_instead(tag)})"
        for tag in missed
        if tag.found
    ]
    parts = {
        "**Rare tags never found** (images that carry them)": lost,
        "**Rare tags missed at times** (found on)": at_times,
    }
    return "\n\n".join(f"{title}: {_listing(names)}" for title, names in parts.items() if names)


def _instead(tag: view.MissedTag) -> str:
    names = ", ".join(plain_text(label) for label, _ in tag.instead)
    return f"; instead {names}" if names else ""


def _zero_support(report: view.LongTailReport) -> str:
    names = [plain_text(report.label(concept_id)) for concept_id in report.tags.zero_support_tags]
    return f"**In the vocabulary, on no image** ({len(names):,}): {_listing(names)}" if names else ""


def _whole_vocabulary(report: view.LongTailReport) -> str:
    whole = report.tag_figures.whole_vocabulary
    if whole is None:
        return ""
    found = view.by_band_and_k(whole.recall)
    shown = [name for name in view.BAND_ORDER if name in found]
    recall = ", ".join(f"{name} {view.percent(found[name][HEADLINE_K].micro, 1)}" for name in shown)
    return f"**Ranked among all {whole.ranked_concepts:,} concepts**, recall@{HEADLINE_K}: {recall}"


def _provenance(report: view.LongTailReport) -> str:
    figures = report.figures
    facts = {
        "Tier": figures.tier,
        "Model": report.model,
        "Taxonomy": report.taxonomy_fingerprint,
        "Images": f"{figures.images:,}",
        "Rejects": f"{figures.rejects:,}",
        "Evaluated images": f"{report.tags.images:,}",
    }
    facts |= {
        asset: f"{speed.images_per_second:,.1f} images/s ({speed.device})"
        for asset, speed in figures.throughput.items()
    }
    return markdown_table(
        ("How it was made", ""), ((name, plain_text(fact)) for name, fact in facts.items() if fact)
    )


def _listing(names: list[str]) -> str:
    rest = len(names) - _SHOWN_TAGS
    return ", ".join(names[:_SHOWN_TAGS]) + (f" and {rest:,} more" if rest > 0 else "")
