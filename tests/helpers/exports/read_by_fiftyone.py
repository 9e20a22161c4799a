"""FiftyOne's own importer reads a dataset, as JSON on standard output: python read_by_fiftyone.py FOLDER.

Runs in an environment with fiftyone and mongomock (make test-fiftyone), where mongomock stands in for the MongoDB that
FiftyOne keeps its datasets in; everything else is FiftyOne's.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

os.environ |= {
    "FIFTYONE_DATABASE_URI": "mongodb://localhost",
    "FIFTYONE_DATABASE_VALIDATION": "false",
    "FIFTYONE_DISABLE_SERVICES": "1",
    "FIFTYONE_DO_NOT_TRACK": "true",
}

import fiftyone.core.odm.database as database
import mongoengine
import mongomock
import pymongo
from mongomock.store import ServerStore

STORE = ServerStore()


class Client(mongomock.MongoClient):  # type: ignore[misc]
    """All clients of a process see one store, as those of a server do."""

    _closed = False

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__("localhost", _store=STORE)


class InMemory:
    """A module whose client is this one."""

    def __init__(self, module: Any, **instead: Any) -> None:
        self._module = module
        vars(self).update(instead)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def connect(name: str, **_: Any) -> Any:
    return mongoengine.connect(name, host="mongodb://localhost", mongo_client_class=Client)


database.pymongo = InMemory(pymongo, MongoClient=Client)
database.mongoengine = InMemory(mongoengine, connect=connect)
database._validate_db_version = lambda *_: None

import fiftyone as fo  # noqa: E402


def main(folder: str) -> None:
    dataset = fo.Dataset.from_dir(dataset_dir=folder, dataset_type=fo.types.FiftyOneDataset, progress=False)
    samples = []
    for sample in dataset:
        labels = sample["labels"].classifications if sample.has_field("labels") else []
        regions = sample["regions"].detections if sample.has_field("regions") else []
        samples.append(
            {
                "there": os.path.isfile(sample.filepath),  # noqa: PTH113
                "path": sample["path"],
                "caption": sample["caption"],
                "labels": [[of.label, of.confidence, of["concept_id"], of["state"]] for of in labels],
                "regions": [
                    [
                        of.label,
                        of.bounding_box,
                        of.confidence,
                        None if of.mask is None else of.mask.sum() / of.mask.size,
                    ]
                    for of in regions
                ],
            }
        )
    version = dataset._doc.version
    print(json.dumps({"media_type": dataset.media_type, "version": version, "samples": samples}))


main(sys.argv[1])
