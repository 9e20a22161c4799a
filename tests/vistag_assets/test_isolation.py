"""A picture that a model fails on costs itself, and a model that fails ends the run."""

from collections.abc import Iterator

import pytest

from resources.models.checkpoints import ModelUnavailableError
from vistag_assets.isolation import MOST_IN_A_ROW, Batch, isolated

IDS = [f"{number:03d}" for number in range(300)]


class Model:
    """Works in batches of 16, and fails for a batch that holds one of `bad`."""

    def __init__(self, *bad: str, most: int = 16, error: Exception | None = None) -> None:
        self.bad, self.most, self.error = set(bad), most, error or ValueError("height:20 must be\nlarger")
        self.computed: list[str] = []

    def __call__(self, ids: list[str]) -> Iterator[Batch]:
        for start in range(0, len(ids), 16):
            batch = ids[start : start + 16]
            if self.bad & set(batch) or len(batch) > self.most:
                raise self.error
            self.computed += batch
            yield Batch(batch, [{"id": id_} for id_ in batch])


def failed(batches: list[Batch]) -> dict[str, str]:
    return {id_: reason for batch in batches for id_, reason in batch.failed.items()}


@pytest.mark.parametrize("bad", [("000",), ("299",), ("017", "018", "205"), ("063", "064"), ()])
def test_only_the_pictures_that_fail_are_left_out_and_none_is_computed_twice(bad: tuple[str, ...]) -> None:
    model = Model(*bad)
    batches = list(isolated(model, IDS))
    assert failed(batches) == dict.fromkeys(bad, "ValueError: height:20 must be larger")
    assert sorted(model.computed) == [id_ for id_ in IDS if id_ not in bad]
    assert sorted(id_ for batch in batches for id_ in batch.ids) == IDS


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    model = Model(most=5, error=RuntimeError("CUDA out of memory"))
    assert failed(list(isolated(model, IDS[:64]))) == {}
    assert sorted(model.computed) == IDS[:64]


def test_a_single_picture_that_fails_is_named() -> None:
    assert failed(list(isolated(Model("000"), ["000"]))) == {"000": "ValueError: height:20 must be larger"}


@pytest.mark.parametrize("count", [2, 10, 300])
def test_where_all_fail_it_is_the_model(count: int) -> None:
    seen: list[Batch] = []
    with pytest.raises(ValueError, match="must be"):
        seen += isolated(Model(*IDS), IDS[:count])
    assert len(failed(seen)) < min(count, MOST_IN_A_ROW)


def test_a_model_that_is_away_ends_the_run_at_once() -> None:
    model = Model("017", error=ModelUnavailableError("the server does not answer"))
    with pytest.raises(ModelUnavailableError):
        list(isolated(model, IDS))
    assert model.computed == IDS[:16]
