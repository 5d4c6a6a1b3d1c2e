"""Order, resumption, and sharing among processes."""

from __future__ import annotations

import pytest
import torch

from datasets.batches.loader import TensorLoader
from datasets.batches.transforms import Pipeline


class AddNoise(torch.nn.Module):
    """A stage whose draws can be seen."""

    def forward(self, x, draw):
        return torch.stack([x.float(), draw.uniform(1)[:, 0]], 1)


def loader(samples=103, batch_size=16, train=True, **more) -> TensorLoader:
    inputs = torch.arange(samples, dtype=torch.uint8)
    targets = torch.arange(samples, dtype=torch.int16)
    stage = Pipeline(AddNoise())
    return TensorLoader(inputs, targets, stage, batch_size=batch_size, train=train, **more)


def epoch(loader, number=0, start=0):
    return list(loader.batches(number, start))


def targets(batches):
    return torch.cat([target for _, target in batches])


def test_an_epoch_holds_every_sample_once_in_a_new_order():
    data = loader()
    assert len(data) == 7 and data.num_samples == 103
    first, second = epoch(data, 0), epoch(data, 1)
    assert [len(target) for _, target in first] == [16] * 6 + [7]
    for batches in (first, second):
        assert targets(batches).sort().values.tolist() == list(range(103))
    assert targets(first).tolist() != list(range(103))
    assert targets(first).tolist() != targets(second).tolist()
    x, target = first[0]
    assert target.dtype == torch.int64 and x.dtype == torch.float32
    assert torch.equal(x[:, 0].long(), target)


def test_order_and_draws_depend_on_seed_and_epoch_alone():
    once, again, other = (
        epoch(loader(seed=3), 5),
        epoch(loader(seed=3), 5),
        epoch(loader(seed=4), 5),
    )
    for (x, y), (x_again, y_again) in zip(once, again):
        assert torch.equal(x, x_again) and torch.equal(y, y_again)
    assert targets(once).tolist() != targets(other).tolist()
    draws = [torch.cat([x[:, 1] for x, _ in epoch(loader(), number)]) for number in (0, 1)]
    assert not torch.equal(*draws)
    assert len(draws[0].unique()) > 95  # batches do not repeat each other's draws


@pytest.mark.parametrize("start", [0, 1, 4, 6, 7])
def test_an_epoch_goes_on_from_any_batch(start):
    whole, rest = epoch(loader(), 2), epoch(loader(), 2, start)
    assert len(rest) == 7 - start
    for (x, y), (x_rest, y_rest) in zip(whole[start:], rest):
        assert torch.equal(x, x_rest) and torch.equal(y, y_rest)


def test_an_abandoned_epoch_changes_nothing():
    data = loader()
    next(iter(data.batches(0)))
    for (x, y), (x_new, y_new) in zip(epoch(data, 1), epoch(loader(), 1)):
        assert torch.equal(x, x_new) and torch.equal(y, y_new)


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_the_batches_of_one(world_size):
    alone = epoch(loader(samples=96), 3)
    ranks = [
        epoch(loader(samples=96, rank=rank, world_size=world_size), 3) for rank in range(world_size)
    ]
    for batch, (x, y) in enumerate(alone):
        for rank in range(world_size):
            x_rank, y_rank = ranks[rank][batch]
            assert torch.equal(y_rank, y[rank::world_size])
            assert torch.equal(x_rank, x[rank::world_size])


def test_the_last_training_batch_is_filled_up_for_all_processes():
    ranks = [epoch(loader(samples=17, rank=rank, world_size=4)) for rank in range(4)]
    assert [[len(y) for _, y in batches] for batches in ranks] == [[4, 1]] * 4
    alone = targets(epoch(loader(samples=17)))
    last = torch.cat([batches[-1][1] for batches in ranks])
    assert last.tolist() == [alone[16], alone[0], alone[1], alone[2]]


def test_more_processes_than_samples_still_get_one_each():
    ranks = [epoch(loader(samples=3, batch_size=8, rank=r, world_size=8)) for r in range(8)]
    assert [len(targets(batches)) for batches in ranks] == [1] * 8


@pytest.mark.parametrize("samples, world_size", [(103, 1), (103, 4), (3, 4), (16, 2)])
def test_evaluation_counts_every_sample_once(samples, world_size):
    ranks = [
        loader(samples, train=False, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    seen = []
    for data in ranks:
        batches = epoch(data)
        assert len(batches) == len(data)
        assert data.num_samples == samples
        seen += [int(target) for _, y in batches for target in y]
    assert sorted(seen) == list(range(samples))
    if world_size == 1:
        assert seen == list(range(samples))


def test_floating_point_targets_stay_so():
    data = TensorLoader(torch.zeros(4, 1), torch.rand(4, 1), Pipeline(), batch_size=3, train=True)
    assert all(y.dtype == torch.float32 and y.shape[1] == 1 for _, y in data.batches())
