"""The controlled vocabulary: SKOS concepts, their labels and hierarchy, and their facets."""

from taxonomy.concept import Concept, Translation
from taxonomy.facets import Facet, load_facets
from taxonomy.labels import Labels, Named
from taxonomy.loading import STARTER, load_taxonomy, starter_taxonomy, write_taxonomy
from taxonomy.model import Taxonomy
from taxonomy.problems import Flaw, TaxonomyError
from taxonomy.stats import FacetStats, TaxonomyStats, check_report, stats

__all__ = [
    "STARTER",
    "Concept",
    "Facet",
    "FacetStats",
    "Flaw",
    "Labels",
    "Named",
    "Taxonomy",
    "TaxonomyError",
    "TaxonomyStats",
    "Translation",
    "check_report",
    "load_facets",
    "load_taxonomy",
    "starter_taxonomy",
    "stats",
    "write_taxonomy",
]
