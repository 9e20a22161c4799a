"""The public benchmarks that `vistag benchmark` knows."""

from collections.abc import Mapping

from evaluation.public import lvis, openimages
from evaluation.public.benchmark import Benchmark

BENCHMARKS: Mapping[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            "lvis-minival",
            (lvis.ANNOTATIONS,),
            lvis.choose,
            "LVIS annotations: CC BY 4.0; pictures of COCO: the licences that their owners chose at Flickr",
        ),
        Benchmark(
            "openimages-rare",
            (openimages.LABELS, openimages.CLASSES, openimages.IMAGES, openimages.BOXES),
            openimages.choose,
            "Open Images annotations: CC BY 4.0 (Google); pictures: listed as CC BY 2.0, with their makers in credits.csv",
        ),
    )
}
