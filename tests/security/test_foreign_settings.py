"""Tier files and other YAML of strangers: nothing runs, nothing opens, nothing explodes; each refusal names its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from resources.models.checkpoints import ModelSpec
from resources.models.tiers import TierError, load_tier, tier_names
from resources.models.vlms import VlmSpec
from resources.models.vlms.engine_args import ENGINE_ARGS
from resources.models.vlms.server import serve_command, serve_environment
from resources.web import guard
from resources.yaml_file import YamlFileError, read_yaml
from taxonomy import TaxonomyError
from taxonomy.facets import load_facets
from taxonomy.strict_yaml import MAX_BYTES, MAX_DEPTH, MAX_NODES
from vistag_assets.automation.instance import missing_settings
from vistag_assets.automation.storage import StorageError

SECRET = "sk-vErY-sEcReT-123456"
HEAD = "description: d\ndevice: cpu\nencoder: {model: /m, family: siglip, licence: MIT}\n"


def refusal(folder: Path, text: str) -> str:
    """What load_tier says of a tier file with these lines below its first three."""
    (folder / "t.yaml").write_text(HEAD + text, encoding="utf-8")
    with pytest.raises(TierError) as caught:
        load_tier(str(folder / "t.yaml"))
    message = str(caught.value)
    assert "t.yaml" in message
    assert message.replace("\n", "").isprintable(), "names are escaped"
    assert len(message) < 2000
    return message


def with_vlm(**fields: object) -> str:
    given = {"model": "some/model", "family": "chat", "licence": "MIT", "engine": "openai"} | fields
    return f"vlm: {json.dumps(given)}\n"


# Options of vLLM

REFUSED: dict[str, list[str]] = {
    "code": ["--middleware", "os.system"],
    "a plug-in": ["--tool-parser-plugin", "/tmp/a.py"],
    "another plug-in": ["--reasoning-parser-plugin", "/tmp/a.py"],
    "an io plug-in": ["--io-processor-plugin", "a"],
    "logits": ["--logits-processors", "a:b"],
    "a worker": ["--worker-cls", "a.b"],
    "a worker extension": ["--worker-extension-cls", "a.b"],
    "a scheduler": ["--scheduler-cls", "a.b"],
    "an executor": ["--distributed-executor-backend", "a.b"],
    "ray": ["--distributed-executor-backend", "ray"],
    "a class of the model": ["--model-class-overrides", '{"A": "b:c"}'],
    "overrides": ["--hf-overrides", '{"auto_map": {}}'],
    "a loader": ["--load-format", "pt"],
    "a loader's settings": ["--model-loader-extra-config", "{}"],
    "a config file": ["--config", "/tmp/a.yaml"],
    "another config": ["--hf-config-path", "/tmp"],
    "a chat template": ["--chat-template", "/tmp/a.jinja"],
    "another tokenizer": ["--tokenizer", "evil/t"],
    "another model": ["--model", "evil/m"],
    "another checkpoint as speculator": ["--speculative-config", '{"model": "evil/m"}'],
    "adapters": ["--lora-modules", "a=/tmp/a"],
    "a folder for downloads": ["--download-dir", "/tmp"],
    "local files": ["--allowed-local-media-path", "/"],
    "remote media": ["--allowed-media-domains", "evil.example"],
    "a log file": ["--log-config-file", "/tmp/a.json"],
    "traces": ["--otlp-traces-endpoint", "http://evil"],
    "a tool server": ["--tool-server", "evil:1"],
    "transfers": ["--kv-transfer-config", "{}"],
    "another host": ["--host", "0.0.0.0"],
    "a beginning": ["--hos", "0.0.0.0"],
    "a beginning of something harmless": ["--tensor-par", "2"],
    "a socket": ["--uds", "/tmp/s"],
    "another port": ["--port", "80"],
    "a master": ["--master-addr", "10.0.0.2"],
    "a data-parallel address": ["--data-parallel-address", "10.0.0.2"],
    "grpc": ["--grpc"],
    "certificates": ["--ssl-keyfile", "/tmp/k"],
    "a token": ["--hf-token", SECRET],
    "a key": ["--api-key", SECRET],
    "a joined key": [f"--api-key={SECRET}"],
    "an allowed one in one piece": ["--tensor-parallel-size=2"],
    "with underscores": ["--tensor_parallel_size", "2"],
    "in capitals": ["--Tensor-Parallel-Size", "2"],
    "short": ["-tp", "2"],
    "a level": ["-O3"],
    "a level apart": ["-O", "3"],
    "compilation": ["--compilation-config", "{}"],
    "dots": ["--limit-mm-per-prompt.image", "2"],
    "dots of another": ["--compilation-config.level", "3"],
    "additional": ["--additional-config", "{}"],
    "code of the checkpoint": ["--trust-remote-code"],
    "a bare value": ["evil/m"],
    "the end of options": ["--", "x"],
    "an empty one": [""],
    "a blank inside": ["--enforce-eager --host 0.0.0.0"],
    "a line inside": ["--enforce-eager\n--host"],
    "a value that is missing": ["--tensor-parallel-size"],
    "a value that is an option": ["--tensor-parallel-size", "--host"],
    "a value that is a text": ["--tensor-parallel-size", "two"],
    "other digits": ["--tensor-parallel-size", "\u0662"],
    "too many digits": ["--max-num-seqs", "9" * 5000],
    "out of range": ["--gpu-memory-utilization", "2"],
    "not finite": ["--cpu-offload-gb", "inf"],
    "an unknown choice": ["--dtype", "pickle"],
    "an unknown quantisation": ["--quantization", "my_plugin"],
    "JSON with more in it": ["--mm-processor-kwargs", '{"max_pixels": 1, "auto_map": 2}'],
    "JSON with a text": ["--limit-mm-per-prompt", '{"image": "2"}'],
    "JSON with more JSON": ["--limit-mm-per-prompt", '{"image": {"count": 1}}'],
    "deep JSON": ["--limit-mm-per-prompt", "[" * 900],
    "a switch with a value": ["--enforce-eager", "true"],
    "twice": ["--seed", "1", "--seed", "2"],
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_option_of_vllm_that_is_not_known_to_be_harmless_is_refused_with_its_line(
    name: str, tmp_path: Path
) -> None:
    message = refusal(tmp_path, with_vlm(server={"extra_args": REFUSED[name]}))
    assert "line 4: vlm.server.extra_args: " in message
    assert SECRET not in message
    assert "/tmp" not in message.partition("extra_args")[2]


GOOD_VALUES = {
    **{"--kv-cache-dtype": "fp8", "--block-size": "16", "--scheduling-policy": "fcfs", "--dtype": "bfloat16"},
    **{"--quantization": "fp8", "--attention-backend": "FLASH_ATTN", "--mm-processor-cache-type": "lru"},
    **{"--mm-encoder-tp-mode": "data", "--uvicorn-log-level": "error", "--distributed-executor-backend": "mp"},
    **{"--limit-mm-per-prompt": '{"image": 2}', "--mm-processor-kwargs": '{"max_pixels": 1003520}'},
    **{"--gpu-memory-utilization": "0.5", "--max-logprobs": "20", "--seed": "0", "--cpu-offload-gb": "2.5"},
}  # fmt: skip


@pytest.mark.parametrize("option", ENGINE_ARGS)
def test_what_is_harmless_is_passed_on_as_it_is(option: str) -> None:
    given = [option] if ENGINE_ARGS[option] is None else [option, GOOD_VALUES.get(option, "2")]
    spec = VlmSpec.model_validate(json.loads(with_vlm(server={"extra_args": given}).removeprefix("vlm: ")))
    assert serve_command(spec, Path("vllm"))[-len(given) :] == given


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("model", model) for model in ("-m", "--host", "s3://b/m", "https://h/m", "a/b/c", "a b", "~/m", "", "a/-b", "a//b")),
        *(("revision", revision) for revision in ("--trust-remote-code", "-r", "a b", "", "$(id)")),
        *(("server", {"served_name": name}) for name in ("--host", "-x", "a b", "", "a\tb")),
        *(("server", {"quantisation": name}) for name in ("--host", "a b", "a.b:c", "/tmp/q")),
        *(("server", {"base_url": url}) for url in ("file:///etc/passwd", "http://10.0.0.2:8000/v1", "https://me:k@h/v1")),
        *(("server", {"timeout_s": number}) for number in (0, -1)),
        *(("server", {"port": number}) for number in (0, 65536, -1)),
    ],
)  # fmt: skip
def test_names_addresses_and_numbers_that_could_be_something_else_are_refused(
    field: str, value: Any, tmp_path: Path
) -> None:
    assert f"line 4: vlm.{field}" in refusal(tmp_path, with_vlm(**{field: value}))


def test_plain_http_to_another_machine_is_by_choice(tmp_path: Path) -> None:
    told = refusal(tmp_path, with_vlm(server={"base_url": "http://10.0.0.2:8000/v1"}))
    assert "needs https" in told
    assert "`insecure: true` beside it" in told
    (tmp_path / "t.yaml").write_text(
        HEAD + with_vlm(server={"base_url": "http://10.0.0.2:8000/v1", "insecure": True}), encoding="utf-8"
    )
    assert load_tier(str(tmp_path / "t.yaml")).vlm is not None


def test_models_of_all_tiers_and_of_the_registry_have_names_that_pass() -> None:
    from resources.models.registry import registry

    names = [row.model for family in registry().families for row in family.checkpoints]
    assert len(names) > 50
    for name in names:
        assert ModelSpec._is_an_id_or_a_path(name) == name
    for tier in tier_names():
        load_tier(tier)


def test_the_server_is_given_no_key_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "DINOX_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "VISTAG_PG_PASSWORD",
        "VISTAG_VLM_API_KEY",
    ):
        monkeypatch.setenv(name, f"{name}-{SECRET}")
    monkeypatch.setenv("VISTAG_DECISIONS_URL", f"postgresql://a:{SECRET}@h/d")
    monkeypatch.setenv("HF_TOKEN", "of the hub")
    given = serve_environment()
    assert {name: value for name, value in given.items() if SECRET in value} == {
        "VLLM_API_KEY": f"VISTAG_VLM_API_KEY-{SECRET}",
        guard.TOKEN: f"VISTAG_VLM_API_KEY-{SECRET}",
    }
    assert given["HF_TOKEN"] == "of the hub"


# YAML

BOMB = "".join(f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 9)}]}}\n" for n in range(1, 9))
LAUGHS = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))

BAD_YAML: dict[str, tuple[str, int]] = {
    "merge keys that explode": (f"l0: &l0 {{x: 1}}\n{BOMB}", 5),
    "one merge key": ("a: {<<: {b: 1}}\n", 4),
    "aliases that explode": (f"l0: &l0 [x]\n{LAUGHS}", 9),
    "aliases of mappings": ("a: &a {" + ", ".join(f"k{n}: 1" for n in range(300)) + "}\nb: [" + ", ".join(["*a"] * 300) + "]\n", 5),
    "an alias of itself": ("a: &a [*a]\n", 4),
    "an unknown alias": ("a: *b\n", 4),
    "deep lists": ("a: " + "[" * 3000 + "\n", 4),
    "deep blocks": ("a:\n" + "".join(" " * n + "-\n" for n in range(1, 200)), MAX_DEPTH + 4),
    "many values": ("a: [" + "1," * (MAX_NODES + 1) + "]\n", 4),
    "a huge number": ("keep_top: " + "9" * 5000 + "\n", 4),
    "a large number": ("keep_top: " + "9" * 70 + "\n", 4),
    "a negative huge number": ("keep_top: -" + "9" * 5000 + "\n", 4),
    "a huge hexadecimal number": ("keep_top: 0x" + "f" * 5000 + "\n", 4),
    "an octal number": ("keep_top: 0777\n", 4),
    "a binary number": ("keep_top: 0b11\n", 4),
    "base 60": ("keep_top: 1:30\n", 4),
    "base 60 of many digits": ("keep_top: 1" + ":30" * 3000 + "\n", 4),
    "base 60 with a point": ("tags: {min_probability: 1:30.5}\n", 4),
    "a number without end": ("tags: {min_probability: .inf}\n", 4),
    "no number": ("tags: {min_probability: .nan}\n", 4),
    "a number that is too large": ("tags: {min_probability: 1.0e+999}\n", 4),
    "a date": ("caveat: 2001-01-01\n", 4),
    "a date that is none": ("caveat: 2001-99-99\n", 4),
    "a time with a zone that is none": ("caveat: 2001-01-01T00:00:00+99:99\n", 4),
    "a time": ("caveat: 2001-01-01 10:00:00.5\n", 4),
    "binary": ("caveat: !!binary ====\n", 4),
    "a set": ("a: !!set {a, b}\n", 4),
    "an omap": ("a: !!omap [a: 1]\n", 4),
    "pairs": ("a: !!pairs [a: 1]\n", 4),
    "an int that is none": ("keep_top: !!int abc\n", 4),
    "a float that is none": ("keep_top: !!float abc\n", 4),
    "a timestamp that is none": ("caveat: !!timestamp abc\n", 4),
    "a bool that is none": ("share_with_broader: !!bool abc\n", 4),
    "Python": ("a: !!python/object/apply:os.system [id]\n", 4),
    "an own tag": ("a: !x y\n", 4),
    "a key twice": ("keep_top: 1\nkeep_top: 2\n", 5),
    "a key twice inside": ("tags: {top_k: 1, top_k: 2}\n", 4),
    "a list as a key": ("? [a]\n: b\n", 4),
    "a mapping as a key": ("{a: b}: c\n", 4),
    "an equals sign": ("caveat: =\n", 4),
    "a letter beyond all": ('caveat: "\\UFFFFFFFF"\n', 4),
    "a lone surrogate": ('caveat: "\\ud800"\n', 4),
    "an escape": ('caveat: "a\\e[2J"\n', 4),
    "an escape in a name": ('"a\\e]0;x\\a": 1\n', 4),
    "a NUL in a path": ('taxonomy: "a\\0b"\n', 4),
    "a raw control character": ("caveat: a\x1bb\n", 4),
    "letters written from right to left in a name": ('"a\u202eb": 1\n', 4),
    "a tab": ("a:\n\t- b\n", 5),
    "two documents": ("---\na: 1\n", 4),
    "a version with many digits": ("...\n%YAML 1." + "9" * 5000 + "\n---\na: 1\n", 5),
    "nothing that closes": ("a: [1, 2\n", 5),
    "a name without end": ("a" * 2000 + ": 1\n", 4),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_YAML)
def test_yaml_that_harms_a_parser_is_refused_in_a_sentence_with_its_line(name: str, tmp_path: Path) -> None:
    text, line = BAD_YAML[name]
    message = refusal(tmp_path, text)
    assert f"line {line}: " in message


EVERYWHERE = [
    "merge keys that explode",
    "aliases that explode",
    "a time with a zone that is none",
    "deep lists",
    "a huge number",
]


@pytest.mark.parametrize("name", EVERYWHERE)
def test_every_yaml_file_goes_through_the_same_loader(name: str, tmp_path: Path) -> None:
    text, line = BAD_YAML[name]
    (tmp_path / "dagster").mkdir()
    for path in (tmp_path / "facets.yaml", tmp_path / "dagster/dagster.yaml"):
        path.write_text("a: [x]\nb: [x]\nc: [x]\n" + text)
    with pytest.raises(YamlFileError, match=f"line {line}: "):
        read_yaml(tmp_path / "facets.yaml")
    with pytest.raises(StorageError, match=rf"dagster\.yaml, line {line}: "):
        missing_settings(tmp_path)
    if "number" not in name:  # of values, which facets have none of
        with pytest.raises(TaxonomyError, match=rf"facets\.yaml:{line}: "):
            load_facets(tmp_path / "facets.yaml")


def test_no_other_loader_of_yaml_is_called() -> None:
    root = Path(__file__).parents[2]
    packages = (
        "taxonomy",
        "resources",
        "vistag_assets",
        "evaluation",
        "sensors",
        "demo",
        "benchmarks",
        "deploy",
    )
    found = {
        str(path.relative_to(root))
        for package in packages
        for path in (root / package).rglob("*.py")
        if any(
            word in path.read_text()
            for word in ("yaml.load", "safe_load", "yaml.SafeLoader", "yaml.compose", "ruamel")
        )
    }
    assert found == {"taxonomy/strict_yaml.py"}


def test_a_file_that_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(YamlFileError, match=r"t\.yaml, line 1: is larger than 256 KiB"):
        read_yaml(path)
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(YamlFileError, match=r"t\.yaml, line 2: holds a byte that is no UTF-8"):
        read_yaml(path)
    with pytest.raises(YamlFileError, match="cannot be read"):
        read_yaml(tmp_path)


def test_plain_yaml_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(
        "\ufeffa: &a {b: [1, -2.5, 1.0e-3, true, null, '2001-01-01', \"ü\"]}\nc: *a\nd: |\n  x\n  y\n",
        "utf-8",
    )
    inner = {"b": [1, -2.5, 1e-3, True, None, "2001-01-01", "ü"]}
    file = read_yaml(path)
    assert file.content == {"a": inner, "c": inner, "d": "x\ny\n"}
    assert [file.line_of(where) for where in (["a", "b", 0], ["d"], ["d", "e"], [])] == [1, 3, 3, 1]
