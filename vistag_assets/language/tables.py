"""The tables of the language assets."""

import pyarrow as pa

_KEYWORD = pa.struct([("phrase", pa.string()), ("concept_id", pa.string()), ("logprob", pa.float32())])
_CLAIM = pa.struct(
    [
        ("aspect", pa.string()),
        ("text", pa.string()),
        ("region_ids", pa.list_(pa.string())),
        ("flags", pa.list_(pa.string())),
    ]
)
CAPTIONS = pa.schema(
    [
        ("id", pa.string()),
        ("caption", pa.string()),
        ("mean_logprob", pa.float32()),
        ("entropy", pa.float32()),
        ("tokens", pa.int16()),
        ("keywords", pa.list_(_KEYWORD)),
        ("problems", pa.list_(pa.string())),
        ("prompt", pa.string()),
        ("fingerprint", pa.string()),
    ]
)
REGION_CAPTIONS = pa.schema(
    [
        ("id", pa.string()),
        ("region_id", pa.string()),
        ("caption", pa.string()),
        ("mean_logprob", pa.float32()),
        ("entropy", pa.float32()),
        ("fingerprint", pa.string()),
    ]
)
DESCRIPTIONS = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("description", pa.string()),
        ("claims", pa.list_(_CLAIM)),
        ("tags", pa.list_(pa.string())),
        ("words", pa.int16()),
        ("lane", pa.string()),
        ("caption", pa.string()),
        ("valid", pa.bool_()),
        ("problems", pa.list_(pa.string())),
        ("json", pa.string()),
        ("fingerprint", pa.string()),
    ]
)
