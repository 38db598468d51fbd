"""Hostile requests get their documented answer; nothing good in them is lost, and nothing is taken of a refused one."""

from __future__ import annotations

import pytest

from metrics.ingest.validation import REASONS
from metrics.models import Rejection
from tests.ingest.asking import held, post
from tests.ingest.corpus import Case, cases

CORPUS = list(cases())


def test_it_knows_at_least_two_hundred_hostile_requests() -> None:
    assert sum(case.status != 202 or bool(case.rejected) for case in CORPUS) >= 200
    assert len({case.name for case in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name.encode("ascii", "backslashreplace").decode())
def test_it_answers_as_documented(case: Case, ingest_token: str) -> None:
    answer = post(ingest_token, case.body, *case.headers)
    assert answer.status == case.status, answer.body
    assert answer.headers[b"content-type"] == b"application/json"
    assert held() == case.accepted
    if case.error:
        assert answer.error == case.error
        assert set(answer.body) == {"error", "detail"}
        return
    assert answer.body["accepted"] == case.accepted
    assert tuple(answer.rejected) == case.rejected
    assert ("receipt" in answer.body) == bool(case.accepted)
    assert {reason for _, _, reason in answer.rejected} <= set(REASONS)
    assert Rejection.objects.count() == len(case.rejected)
