"""Sketches of people: what they hold depends on the set alone, and combining them is DataSketches' own arithmetic."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
from datasketches import theta_a_not_b, theta_intersection, theta_union, update_theta_sketch
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.vocabulary import sketches
from metrics.vocabulary.sketches import NOBODY, K, Sketch, union


def people(seed: int, number: int, among: int = 2**40) -> list[int]:
    """So many draws of people, with repeats."""
    drawn: list[int] = np.random.default_rng(seed).integers(-among, among, size=number).tolist()
    return drawn


# A few people, or far more than a sketch keeps; from a small crowd, so that sets overlap.
crowds = st.builds(people, st.integers(0, 10**6), st.sampled_from([0, 1, 2, 50, 4_090, 5_000, 20_000]), st.just(9_000))


def theirs(someone: list[int]) -> update_theta_sketch:
    sketch = update_theta_sketch(sketches.LG_K, seed=sketches.SEED)
    for person in someone:
        sketch.update(person)
    sketch.trim()
    return sketch.compact()


@settings(max_examples=30, deadline=None)
@given(crowds, crowds)
def test_it_combines_sets_as_datasketches_does(some: list[int], others: list[int]) -> None:
    ours, theirs_both = (Sketch.of(some), Sketch.of(others)), (theirs(some), theirs(others))
    merged, shared = theta_union(sketches.LG_K, seed=sketches.SEED), theta_intersection(sketches.SEED)
    for each in theirs_both:
        merged.update(each)
        shared.update(each)
    only = theta_a_not_b(sketches.SEED).compute(*theirs_both)
    assert (ours[0] | ours[1]).to_bytes() == merged.get_result().serialize(compress=True)
    assert (ours[0] & ours[1]).to_bytes() == shared.get_result().serialize(compress=True)
    assert (ours[0] - ours[1]).to_bytes() == only.serialize(compress=True)


@settings(max_examples=20, deadline=None)
@given(crowds, st.randoms(use_true_random=False), st.integers(1, 5))
def test_it_holds_the_same_whatever_the_order_batches_and_repeats(some: list[int], random: object, parts: int) -> None:
    mixed = [*some, *some[::3]]
    random.shuffle(mixed)
    batches = [Sketch.of(mixed[place::parts]) for place in range(parts)]
    merged = NOBODY
    for batch in [*batches, *batches]:
        merged |= batch
    once = Sketch.of(some).to_bytes()
    assert merged.to_bytes() == once
    assert union([batch.to_bytes() for batch in batches]).to_bytes() == once


@settings(max_examples=20, deadline=None)
@given(crowds)
def test_it_comes_back_from_its_bytes(some: list[int]) -> None:
    sketch = Sketch.of(some)
    assert Sketch.from_bytes(sketch.to_bytes()).to_bytes() == sketch.to_bytes()
    assert len(sketch.to_bytes()) <= 8 * min(len(set(some)), K) + 24


@pytest.mark.parametrize("number", [0, 1, 2, 100, K])
def test_it_is_exact_below_k(number: int) -> None:
    estimate = Sketch.of(range(number)).estimate
    assert estimate == (number, number, number, True)
    assert estimate.is_told


def test_it_knows_its_error_beyond_k() -> None:
    estimate = Sketch.of(range(1_000_000)).estimate
    assert estimate.low < 1_000_000 < estimate.high
    assert estimate.high - estimate.low < 0.07 * 1_000_000
    assert not estimate.is_exact


def test_it_says_when_a_number_is_too_small_to_tell() -> None:
    many, others = Sketch.of(range(400_000)), Sketch.of(range(399_900, 800_000))
    assert not (many & others).estimate.is_told
    assert (many | others).estimate.is_told


@settings(max_examples=15, deadline=None)
@given(st.lists(crowds, min_size=1, max_size=5))
def test_it_finds_who_is_in_exactly_which_sets(found: list[list[int]]) -> None:
    held = [Sketch.of(some) for some in found]
    largest = sketches.combinations(held, 100)
    theta = min(sketch.theta for sketch in held)
    for members, sketch in largest:
        inside = [set(held[number].hashes.tolist()) for number in members]
        outside = [set(held[number].hashes.tolist()) for number in range(len(held)) if number not in members]
        expected = set.intersection(*inside) - set(chain.from_iterable(outside))
        assert set(sketch.hashes.tolist()) == {each for each in expected if each < theta}
    sizes = [len(sketch.hashes) for _, sketch in largest]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == len({each for sketch in held for each in sketch.hashes.tolist() if each < theta})
    assert not [1 for (_, one), (_, other) in combinations(largest, 2) if set(one.hashes) & set(other.hashes)]


@pytest.mark.parametrize("data", [b"", b"x", bytes(8), Sketch.of([1, 2, 3]).to_bytes()[:-3]])
def test_it_refuses_bytes_that_are_no_sketch(data: bytes) -> None:
    with pytest.raises(ValueError, match="no sketch"):
        Sketch.from_bytes(data)
