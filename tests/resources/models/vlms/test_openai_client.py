"""The client of served models, against a server that fails on purpose; and what the stages make of a failure."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from faulty_server import Asked, FaultyServer, Reply, faulty_server, said, write_tier
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from resources.home import Home, Settings, write_settings
from resources.lake import UpdateStats, failed_ids
from resources.metadata import ROW_COUNT
from resources.models.checkpoints import make_model
from resources.models.tiers import TierError, load_tier
from resources.models.vlms import Answer, Unanswered, Vlm, VlmSpec
from resources.models.vlms.completions import split_by_tokens
from resources.models.vlms.openai_client import API_KEY, OpenAiVlm, ServerUnavailableError
from resources.models.vlms.pace import Pace
from resources.models.vlms.png import png_of
from resources.models.vlms.prompts import CAPTION
from resources.workspace import VistagResource, Workspace, open_workspace
from vistag_assets.folder_asset import update_table
from vistag_assets.ingest.files import ingest_files
from vistag_assets.language.descriptions import descriptions
from vistag_assets.partitions import FOLDERS
from vistag_assets.progress import Meter
from vistag_assets.runs import find_library
from vistag_assets.whole_image.captions import captions as captions_asset

PLAIN_PROMPT = "?"


def vlm_of(server: FaultyServer, **changes: object) -> Vlm:
    return make_model(spec_of(base_url=server.url, **changes), "cpu")


def spec_of(**server: object) -> VlmSpec:
    return VlmSpec.model_validate(
        {"model": "some/model", "licence": "MIT", "engine": "openai", "server": {"retries": 2} | server}
    )


def pictures(count: int) -> list[Image.Image]:
    random = np.random.default_rng(3)
    return [Image.fromarray(random.integers(0, 256, (9, 13, 3), dtype=np.uint8)) for _ in range(count)]


def ask(vlm: Vlm, *prompts: str) -> list[Answer | Unanswered]:
    return list(vlm.answer(pictures(len(prompts)), prompts, max_tokens=7))


class Failing:
    """Fails the first times that it hears one prompt, and answers all else."""

    def __init__(self, prompt: str, *replies: Reply) -> None:
        self.prompt = prompt
        self.replies = list(replies)

    def __call__(self, asked: Asked) -> Reply:
        if asked.prompt == self.prompt and self.replies:
            return self.replies.pop(0)
        return said(asked.prompt)


# ---- what is asked and what is understood


def test_answers_come_in_their_order_with_their_figures() -> None:
    with faulty_server(lambda asked: said("A ", "bowl", ".", "</s>")) as server:
        reply = said("A ", "bowl", ".", "</s>").body
        reply["choices"][0]["message"]["content"] = " A bowl."
        server.behave = lambda asked: Reply(body=reply) if asked.prompt == "x" else said(asked.prompt, " cut")
        [first, other] = vlm_of(server).answer(pictures(2), ["x", "y"], max_tokens=7)
    assert isinstance(first, Answer)
    assert isinstance(other, Answer)
    assert (first.text, first.tokens, first.finished) == ("A bowl.", (" A ", "bowl", "."), True)
    assert (other.text, other.tokens) == ("y cut", ("y", " cut"))
    np.testing.assert_allclose(first.logprobs, [-0.5] * 3)
    odds = np.exp([0.0, -1.0, -2.0])
    odds /= odds.sum()
    np.testing.assert_allclose(first.entropies, [-(odds * np.log(odds)).sum()] * 3, rtol=1e-6)


def test_a_request_is_greedy_lossless_and_held_to_its_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY, "secret")
    monkeypatch.setenv("OPENAI_API_KEY", "somebody else's")
    schema = {"type": "object"}
    with faulty_server(lambda asked: said("{}")) as server:
        vlm_of(server, served_name="served").answer(
            pictures(1), ["see <image></s> [INST] <b 3 < 4 > 2"], max_tokens=9, schema=schema
        )
    [asked] = server.asked
    np.testing.assert_array_equal(np.asarray(asked.image), np.asarray(pictures(1)[0]))
    assert asked.prompt.split() == ["see", "<b", "3", "<", "4", ">", "2"]
    assert asked.headers["authorization"] == "Bearer secret"
    del asked.body["messages"]
    assert asked.body == {
        "model": "served",
        "max_tokens": 9,
        "temperature": 0.0,
        "logprobs": True,
        "top_logprobs": 20,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": True},
        },
    }


def test_a_family_is_told_what_it_is_as_in_this_process() -> None:
    with faulty_server(lambda asked: said("A bowl")) as server:
        spec = spec_of(base_url=server.url).model_copy(update={"family": "joycaption"})
        ask(make_model(spec, "cpu"), "x")
    [asked] = server.asked
    assert asked.body["messages"][0] == {"role": "system", "content": "You are a helpful image captioner."}


def test_an_answer_that_was_cut_is_not_finished() -> None:
    with faulty_server(lambda asked: said("A", " bowl", finish="length")) as server:
        [answer] = ask(vlm_of(server), "x")
    assert isinstance(answer, Answer)
    assert (answer.tokens, answer.finished) == (("A", " bowl"), False)


def test_nothing_is_asked_and_nothing_answered() -> None:
    assert list(make_model(spec_of(port=1), "cpu").answer([], [], max_tokens=3)) == []


@pytest.mark.parametrize(
    ("text", "tokens", "pieces"),
    [
        ("A red bowl", ["A", "red", "bowl"], ["A", " red", " bowl"]),  # a space that the tokenizer lost
        ("Krüge da", ["Kr", "\ufffd", "\ufffd", "ge", " da"], ["Kr", "", "ü", "ge", " da"]),
        ("ü", ["\ufffd", "\ufffd"], ["", "ü"]),
        ("a\nb", ["a", "\n", "b"], ["a", "\n", "b"]),
        ("a b", ["a", "", "b"], ["a", "", " b"]),
        ("", ["", ""], ["", ""]),
        ("", [], []),
        ("quite other", ["a", "b"], ["", "quite other"]),
    ],
)
def test_a_text_is_split_by_the_tokens_that_a_server_reports(
    text: str, tokens: list[str], pieces: list[str]
) -> None:
    assert split_by_tokens(text, tokens) == pieces


@given(
    st.lists(st.text(st.sampled_from("ab \nü<>"), max_size=4), min_size=1),
    st.lists(st.sampled_from(["kept", "stripped", "half"]), max_size=30),
)
def test_pieces_of_a_text_joined_are_the_text(words: list[str], fates: list[str]) -> None:
    fate_of = {"kept": str, "stripped": str.strip, "half": lambda token: "\ufffd"}
    fates += ["kept"] * len(words)
    told = [fate_of[fate](word) for word, fate in zip(words, fates, strict=False)]
    pieces = split_by_tokens("".join(words), told)
    assert "".join(pieces) == "".join(words)
    assert len(pieces) == len(words)
    if set(fates[: len(words)]) == {"kept"}:
        assert pieces == words


# ---- what goes wrong


@pytest.mark.parametrize(
    "failure",
    [Reply(429), Reply(500), Reply(503), Reply(drops=True), Reply(body={}, after_s=4)],
    ids=["429", "500", "503", "dropped", "slow"],
)
def test_what_passes_is_tried_again(failure: Reply) -> None:
    with faulty_server(Failing("x", failure)) as server:
        [answer] = ask(vlm_of(server, timeout_s=3), "x")
    assert isinstance(answer, Answer)
    assert len(server.attempts("x")) == 2


def test_attempts_are_as_many_as_allowed_and_ever_further_apart() -> None:
    with faulty_server(Failing("x", *[Reply(500)] * 9)) as server:
        [failed, answered] = ask(vlm_of(server), "x", "y")
    first, second = (b.at - a.at for a, b in pairwise(server.attempts("x")))
    assert first < second
    assert failed == Unanswered("500 Error code: 500")
    assert isinstance(answered, Answer)


def test_a_busy_server_is_asked_less_at_a_time_and_gives_every_answer() -> None:
    """It takes two at once and says 429 to more, for far more attempts than `retries` allows."""
    refused = 0

    def behave(asked: Asked) -> Reply:
        nonlocal refused
        if server.at_once > 2:
            refused += 1
            return Reply(429, headers={"Retry-After": "0.05"})
        return replace(said(asked.prompt), after_s=0.05)

    with faulty_server(behave) as server:
        answers = ask(vlm_of(server, retries=0, concurrency=16), *map(str, range(64)))
    assert [getattr(answer, "text", answer) for answer in answers] == list(map(str, range(64)))
    assert refused > 0


def test_a_server_that_stays_busy_is_told_as_one_that_does_not_answer() -> None:
    with (
        faulty_server(lambda _: Reply(503, headers={"Retry-After": "0.01"})) as server,
        pytest.raises(ServerUnavailableError, match="503"),
    ):
        ask(vlm_of(server, retries=1, busy_s=0.2), "x")


def test_a_pace_halves_and_grows_again() -> None:
    pace = Pace("http://here", 16)
    pace.busy()
    pace.busy()  # of the same moment
    assert pace.limit == 8
    for _ in range(200):
        pace.answered()
    assert pace.limit == 16


def test_who_stops_waiting_for_a_turn_holds_up_nobody() -> None:
    """One at work, one that gives up while it waits, one at the moment when it is called, and one behind them."""

    async def work(pace: Pace, order: list[str], name: str, leave: asyncio.Event) -> None:
        async with pace.turn():
            order.append(name)
            await leave.wait()

    async def all_of_them() -> list[str]:
        pace, order, leave = Pace("http://here", 1), list[str](), asyncio.Event()
        first, impatient, called, last = (
            asyncio.create_task(work(pace, order, name, leave)) for name in ("first", "no", "no", "last")
        )
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.sleep(0)
        leave.set()
        while not first.done():
            await asyncio.sleep(0)
        called.cancel()
        await last
        await asyncio.gather(first, impatient, called, return_exceptions=True)
        async with pace.turn():
            return order

    assert asyncio.run(all_of_them()) == ["first", "last"]


def test_a_server_says_when_to_ask_again() -> None:
    with faulty_server(Failing("x", Reply(429, headers={"Retry-After": "1.2"}))) as server:
        ask(vlm_of(server), "x")
    [first, second] = server.attempts("x")
    assert 1.2 <= second.at - first.at < 3


def test_one_image_that_is_refused_is_unanswered_and_not_tried_again() -> None:
    refusal = Reply(400, {"error": {"message": "The prompt is\ntoo long", "type": "BadRequestError"}})
    with faulty_server(Failing("x", *[refusal] * 5)) as server:
        answers = ask(vlm_of(server), "a", "x", "b")
    assert [getattr(answer, "text", None) for answer in answers] == ["a", None, "b"]
    assert answers[1] == Unanswered("400 The prompt is too long")
    assert len(server.attempts("x")) == 1
    assert len(server.attempts(PLAIN_PROMPT)) == 1


def test_one_image_that_takes_for_ever_is_unanswered() -> None:
    with faulty_server(Failing("x", *[Reply(after_s=4)] * 5)) as server:
        [failed, answered] = ask(vlm_of(server, timeout_s=2, retries=1), "x", "y")
    assert failed == Unanswered("no answer within the timeout, at each attempt")
    assert isinstance(answered, Answer)
    assert len(server.attempts("x")) == 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(body=b"<html>busy</html>", headers={"Content-Type": "text/html"}), "no chat completion"),
        (Reply(body=b'{"choices": ['), "no JSON"),
        (Reply(body={"object": "error"}), "no chat completion"),
        (Reply(body={"choices": []}), "no chat completion"),
        (said("x", finish="content_filter"), "content_filter"),
        (said("x", message={"role": "assistant", "content": None}), "ended without an answer"),
        (said("x", logprobs=None), "log-probabilities"),
        (said("x", logprobs={"content": [{"token": "x", "logprob": -1.0, "top_logprobs": []}]}), "top_log"),
    ],
)
def test_an_answer_that_is_none_is_unanswered_where_the_server_answers_others(
    reply: Reply, reason: str
) -> None:
    with faulty_server(Failing("x", *[reply] * 9)) as server:
        [failed, answered] = ask(vlm_of(server), "x", "y")
        assert isinstance(failed, Unanswered)
        assert reason in failed.reason
        assert isinstance(answered, Answer)
        server.behave = lambda asked: reply
        with pytest.raises(ServerUnavailableError, match=reason):
            ask(vlm_of(server), "x")


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_is_asked_at_once_than_allowed(concurrency: int) -> None:
    with faulty_server(lambda asked: Reply(body=said("x").body, after_s=0.05)) as server:
        vlm = vlm_of(server, concurrency=concurrency)
        with ThreadPoolExecutor(2) as threads:  # of two batches of a stage
            list(threads.map(lambda half: ask(vlm, *half), [[*"abcdef"], [*"ghijkl"]]))
    assert len(server.asked) == 12
    assert server.most_at_once == concurrency


def test_batches_that_are_asked_at_once_share_connections() -> None:
    with faulty_server(lambda asked: Reply(body=said("x").body, after_s=0.02)) as server:
        vlm = vlm_of(server, concurrency=3)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda batch: ask(vlm, *batch), [[*"abcdef"]] * 4))
    assert len(server.asked) == 24
    assert server.connections <= 4  # a batch that begins as all others end has one more


def test_requests_are_made_ready_while_the_server_works_and_no_more_than_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server answers nothing before twice as many pictures are encoded as it takes at once."""
    encoded, ready = list[float](), threading.Event()

    def counted(image: Image.Image, *, packed: bool) -> bytes:
        assert not packed  # it is this machine
        encoded.append(time.monotonic())
        if len(encoded) == 4:
            ready.set()
        return png_of(image, packed=packed)

    monkeypatch.setattr("resources.models.vlms.openai_client.png_of", counted)
    held = list[tuple[bool, int]]()

    def behave(asked: Asked) -> Reply:
        come = ready.wait(30)
        if len(held) < 2:
            time.sleep(0.2)  # long enough for more to be encoded
            held.append((come, len(encoded)))
        return said(asked.prompt)

    with faulty_server(behave) as server:
        ask(vlm_of(server, concurrency=2), *map(str, range(20)))
    assert held[0] == (True, 4)
    assert len(encoded) == 20


def test_a_server_that_is_not_there_is_named_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        with pytest.raises(ServerUnavailableError) as own:
            ask(make_model(spec_of(port=port, retries=0), "cpu"), "x", "y")
        with pytest.raises(ServerUnavailableError) as others:
            make_model(spec_of(base_url=f"http://127.0.0.1:{port}/v1/", retries=0), "cpu").load()
    assert f"some/model at http://127.0.0.1:{port}/v1 does not answer" in str(own.value)
    assert "vistag serve --tier" in str(own.value)
    assert "what was finished is kept" in str(own.value).lower()
    assert "server.base_url" in str(others.value)


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (Reply(404, {"error": {"message": "The model `x` does not exist."}}), "404 The model `x` does not"),
        (Reply(401, {"error": "Unauthorized"}), API_KEY),
    ],
)
def test_what_is_wrong_for_every_picture_is_no_failure_of_one(refusal: Reply, told: str) -> None:
    with faulty_server(lambda asked: refusal) as server, pytest.raises(ServerUnavailableError, match=told):
        ask(vlm_of(server), "x", "y")


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with faulty_server(lambda asked: said("x")) as server:
        assert isinstance(ask(vlm_of(server, retries=0), "x")[0], Answer)


# ---- what a tier says


def test_the_fingerprint_is_of_the_model_and_needs_neither_server_nor_torch(tmp_path: Path) -> None:
    def fingerprint(**fields: object) -> str:
        spec = VlmSpec.model_validate(
            {"model": "some/model", "licence": "MIT", "engine": "openai", "server": {}} | fields
        )
        return OpenAiVlm(spec, "cpu").fingerprint

    (tmp_path / "config.json").write_text("{}")
    assert fingerprint(server={"port": 9, "concurrency": 2, "base_url": "https://gpu/v1"}) == fingerprint()
    told = [
        fingerprint(),
        fingerprint(dtype="bfloat16"),
        fingerprint(revision="abc"),
        fingerprint(server={"quantisation": "fp8"}),
        fingerprint(model=str(tmp_path)),
    ]
    assert len(set(told)) == len(told)
    (tmp_path / "config.json").write_text('{"other": "weights"}')
    assert fingerprint(model=str(tmp_path)) != told[-1]
    code = (
        "import sys; from resources.models.checkpoints import make_model; from resources.models.vlms import VlmSpec; "
        "make_model(VlmSpec(model='m', licence='own', engine='openai'), 'cpu').fingerprint; "
        "sys.exit('torch' in sys.modules or 'openai' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"engine": "openai", "beams": 4}, "beams"),
        ({"server": {"port": 9}}, "engine: openai"),
        ({"engine": "openai", "server": {"base_url": "gpu:8000"}}, "base_url"),
        ({"engine": "openai", "server": {"gpu_memory_share": 1.5}}, "gpu_memory_share"),
        ({"engine": "openai", "server": {"conkurrency": 1}}, "conkurrency"),
        ({"engine": "vllm"}, "engine"),
        ({"engine": "openai", "family": "blip"}, "the family blip"),
    ],
)
def test_a_tier_that_cannot_be_is_refused(tmp_path: Path, fields: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        VlmSpec.model_validate({"model": "m", "licence": "MIT"} | fields)
    with pytest.raises(TierError, match=told):
        load_tier(str(write_tier(tmp_path, fields)))


# ---- what the stages make of it


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with faulty_server(lambda asked: said("A", " bowl", ".")) as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path, server: FaultyServer) -> Workspace:
    """A folder of four pictures of different widths, ingested."""
    spec = {"engine": "openai", "server": {"base_url": server.url, "retries": 0, "concurrency": 2}}
    home = Home(tmp_path / "home")
    write_settings(home, Settings(tier=str(write_tier(tmp_path, spec))))
    (tmp_path / "library").mkdir()
    for width in WIDTHS:
        Image.new("RGB", (width, 40), (width, 0, 0)).save(tmp_path / "library" / f"{width}.png")
    workspace = open_workspace(home)
    [folder] = find_library(tmp_path / "library", KEY, home)
    ingest_files(workspace, folder, Meter("Reading"))
    return workspace


KEY = "lib"
WIDTHS = (41, 42, 43, 44)


class Refuses:
    """Answers all but one picture, known by its width."""

    def __init__(self, width: int, prompt: str | None = None) -> None:
        self.width = width
        self.prompt = prompt

    def __call__(self, asked: Asked) -> Reply:
        if asked.image.width == self.width and self.prompt in (None, asked.prompt):
            return Reply(400, {"error": {"message": "too long"}})
        return said("A", " bowl", ".")


@pytest.mark.parametrize("prompt", [None, CAPTION])
def test_a_picture_without_an_answer_has_no_row_and_is_asked_about_again(
    workspace: Workspace, server: FaultyServer, prompt: str | None
) -> None:
    server.behave = Refuses(42, prompt)
    assert update_table("captions", workspace, KEY) == UpdateStats(0, 3, 0, 0, failed=1)
    rows = workspace.lake.read("captions", KEY)
    assert rows["caption"].to_pylist() == ["A bowl."] * 3
    assert list(failed_ids(rows).values()) == ["400 too long"]
    assert update_table("descriptions", workspace, KEY).computed == 3

    server.behave = Refuses(0)
    server.asked.clear()
    assert update_table("captions", workspace, KEY) == UpdateStats(3, 1, 0, 0)
    assert {asked.image.width for asked in server.asked} == {42}
    assert workspace.lake.read("captions", KEY).num_rows == 4
    assert update_table("descriptions", workspace, KEY) == UpdateStats(3, 1, 0, 0)


def test_a_run_tells_which_pictures_got_no_answer(workspace: Workspace, server: FaultyServer) -> None:
    server.behave = Refuses(43)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(FOLDERS, [KEY])
        result = dg.materialize(
            [captions_asset, descriptions],
            partition_key=KEY,
            instance=instance,
            resources={"vistag": VistagResource(home=str(workspace.home.root))},
        )
    assert result.success
    [captions, *_] = [
        event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("captions")
    ]
    told = {name: value.value for name, value in captions.items()}
    assert (told["failed"], told[ROW_COUNT]) == (1, 3)
    assert "43.png" in str(told["unanswered"])
    assert "400 too long" in str(told["unanswered"])
    assert {"engine openai", f"server {server.url}"} <= set(told["made_by"].split("; "))


def test_a_server_that_goes_leaves_what_was_finished(
    workspace: Workspace, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vistag_assets.whole_image.captions.IMAGES_AT_ONCE", 1)
    monkeypatch.setattr(
        VlmSpec, "batches_at_once", 1
    )  # of two at once one may be half asked when the server goes
    gone = threading.Event()

    def goes(asked: Asked) -> Reply:
        if len(server.asked) > 4:  # two pictures, two questions each
            gone.set()
        return Reply(drops=True) if gone.is_set() else said("A", " bowl", ".")

    server.behave = goes
    with pytest.raises(ServerUnavailableError, match="does not answer"):
        update_table("captions", workspace, KEY)
    assert not workspace.lake.exists("captions", KEY)
    finished = {asked.image.width for asked in server.asked[:4]}

    server.behave = Refuses(0)
    server.asked.clear()
    assert update_table("captions", workspace, KEY) == UpdateStats(0, 2, 0, 2)
    assert {asked.image.width for asked in server.asked} == set(WIDTHS) - finished
    assert len(server.asked) == 4
    assert workspace.lake.read("captions", KEY).num_rows == 4


def test_nothing_is_asked_where_nothing_is_to_do(workspace: Workspace, server: FaultyServer) -> None:
    update_table("captions", workspace, KEY)
    server.asked.clear()
    assert update_table("captions", workspace, KEY) == UpdateStats(4, 0, 0, 0)
    assert server.asked == []


def test_the_heavy_lane_of_a_served_model_is_the_same_model(workspace: Workspace) -> None:
    assert workspace.heavy_vlm is workspace.vlm
