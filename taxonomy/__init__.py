"""The controlled vocabulary: SKOS concepts, their labels and hierarchy, and the prompts made of them."""

from taxonomy.concept import Concept
from taxonomy.labels import Labels, Named
from taxonomy.loading import load_taxonomy, starter_taxonomy, write_taxonomy
from taxonomy.model import Prompts, Taxonomy
from taxonomy.problems import Flaw, TaxonomyError
from taxonomy.prompts import load_prompts
from taxonomy.stats import FacetStats, TaxonomyStats, check_report, stats

__all__ = [
    "Concept",
    "FacetStats",
    "Flaw",
    "Labels",
    "Named",
    "Prompts",
    "Taxonomy",
    "TaxonomyError",
    "TaxonomyStats",
    "check_report",
    "load_prompts",
    "load_taxonomy",
    "starter_taxonomy",
    "stats",
    "write_taxonomy",
]
