"""clip-retrieval over a folder, by the Python that has it: by_clip_retrieval.py FOLDER OUT CHECKPOINT; without words: whether
it imports.

Its package imports servers and indexes that are not measured and want much more; what embeds is a package inside it.
"""

import os
import sys
import traceback
import types
from importlib import import_module
from importlib.util import find_spec

spec = find_spec("clip_retrieval")
if spec is None:
    sys.exit("no module named clip_retrieval")
package = types.ModuleType("clip_retrieval")
package.__path__ = list(spec.submodule_search_locations or ())
sys.modules["clip_retrieval"] = package

if __name__ == "__main__":
    main = import_module("clip_retrieval.clip_inference.main").main

    if sys.argv[1:]:
        folder, out, checkpoint = sys.argv[1:]
        try:
            main(
                input_dataset=folder,
                output_folder=out,
                clip_model=f"hf_clip:{checkpoint}",
                input_format="files",
                enable_text=False,
                enable_metadata=False,
                batch_size=32,
                num_prepro_workers=2,
                enable_wandb=False,
            )
        except Exception:  # its process for logs never ends after one, and would be waited for
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
