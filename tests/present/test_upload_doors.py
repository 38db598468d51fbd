"""Files come in pieces: in order, twice, too late, too long, from others; with names of any kind."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Handle, Membership, Role
from metrics.ingest import uploads
from metrics.models import FileImport, ImportPiece, ImportState
from tests.present.test_imports import HERE, STAMP, an_import, as_

if TYPE_CHECKING:
    from django.http import HttpResponse

    from accounts.models import User

pytestmark = pytest.mark.django_db
BODY = b"Tweet id,likes\n1,2\n"


def announce(client: Client, size: int = len(BODY), name: str = "export.csv", **more: Any) -> HttpResponse:
    """Announce a file; the answer."""
    return client.post(f"{HERE}files/", {"name": name, "size": size, "modified": int(STAMP.timestamp() * 1000), **more})


def piece(client: Client, pk: int, offset: int | str, data: bytes) -> HttpResponse:
    """Send a piece; the answer."""
    return client.post(f"{HERE}{pk}/pieces/?offset={offset}", data, content_type="application/octet-stream")


def test_it_takes_files_only_from_owners_and_editors(alice: User, bob: User, charlie: User, northwind: Handle) -> None:
    pk = announce(as_(alice)).json()["id"]
    for client, status, told in (
        (as_(bob), 403, "Editors and owners"),
        (as_(charlie), 404, "no such import"),
        (Client(), 401, "Signed out"),
    ):
        for answer in (announce(client), piece(client, pk, 0, BODY)):
            assert answer.status_code == status
            assert told in answer.json()["detail"]
    assert FileImport.objects.count() == 1
    assert not ImportPiece.objects.exists()


def test_it_refuses_pieces_for_somebody_elses_import(alice: User, bob: User, northwind: Handle) -> None:
    Membership.objects.filter(user=bob).update(role=Role.EDITOR)
    pk = announce(as_(alice)).json()["id"]
    answer = piece(as_(bob), pk, 0, BODY)
    assert answer.status_code == 403
    assert answer.json()["detail"] == ("“export.csv” is being sent by alice@northwind.example; import your own copy.")


def test_it_keeps_a_file_in_pieces(alice: User, northwind: Handle) -> None:
    client = as_(alice)
    begun = announce(client).json()
    assert begun == {"id": begun["id"], "received": 0, "size": len(BODY), "piece": uploads.PIECE_BYTES}
    assert piece(client, begun["id"], 0, BODY[:7]).json()["received"] == 7
    assert piece(client, begun["id"], 7, BODY[7:]).json() == {
        "id": begun["id"],
        "received": len(BODY),
        "state": "reading",
    }
    file = FileImport.objects.get()
    assert (file.filename, file.size, file.modified_at, file.created_by) == ("export.csv", len(BODY), STAMP, alice)
    assert b"".join(bytes(one.data) for one in file.pieces.all()) == BODY


def test_it_goes_on_where_an_upload_was_cut(alice: User, northwind: Handle) -> None:
    client = as_(alice)
    pk = announce(client).json()["id"]
    piece(client, pk, 0, BODY[:7])
    again = announce(client).json()
    assert (again["id"], again["received"]) == (pk, 7)
    assert announce(client, size=len(BODY) + 1).json()["id"] != pk
    assert announce(client, modified=1).json()["id"] != pk


def test_it_takes_a_piece_that_comes_twice_once(alice: User, northwind: Handle) -> None:
    client = as_(alice)
    pk = announce(client).json()["id"]
    for _ in range(2):
        assert piece(client, pk, 0, BODY[:7]).json()["received"] == 7
    for _ in range(2):
        assert piece(client, pk, 7, BODY[7:]).json()["state"] == "reading"
    assert b"".join(bytes(one.data) for one in ImportPiece.objects.all()) == BODY


@pytest.mark.parametrize(
    ("offset", "data", "status", "told"),
    [
        (9, b"late", 409, "Go on from byte 7."),
        (3, b"overlapping", 409, "Go on from byte 7."),
        (7, b"", 400, "The piece is empty"),
        (7, b"x" * 100, 422, "was changed while it was sent"),
        (7, b"x" * (uploads.PIECE_BYTES + 1), 413, "at most 4,194,304 bytes"),
        ("", b"x", 400, "offset: give a whole number"),
        ("-1", b"x", 400, "offset: give a whole number"),
        ("9" * 40, b"x", 400, "offset: give a whole number"),
    ],
)
def test_it_says_what_is_wrong_with_a_piece(
    alice: User, northwind: Handle, offset: int | str, data: bytes, status: int, told: str
) -> None:
    client = as_(alice)
    pk = announce(client).json()["id"]
    piece(client, pk, 0, BODY[:7])
    answer = piece(client, pk, offset, data)
    assert answer.status_code == status
    assert told in answer.json()["detail"]
    if status == 409:
        assert answer.json()["received"] == 7
    assert FileImport.objects.get().received == 7
    assert ImportPiece.objects.count() == 1


def test_it_takes_nothing_after_the_end(alice: User, northwind: Handle) -> None:
    client = as_(alice)
    pk = announce(client).json()["id"]
    piece(client, pk, 0, BODY)
    answer = piece(client, pk, len(BODY), b"more")
    assert answer.status_code == 409
    assert answer.json()["detail"] == "“export.csv” takes no more: it is being read."
    FileImport.objects.update(state=ImportState.CANCELLED, received=0)
    assert "it is cancelled" in piece(client, pk, 0, BODY).json()["detail"]


@pytest.mark.parametrize(
    ("size", "status", "told"),
    [
        (0, 422, "“export.csv” is empty"),
        (uploads.MAX_BYTES + 1, 413, "“export.csv” is too large"),
        ("many", 400, "size: give a whole number"),
        ("", 400, "size: give a whole number"),
    ],
)
def test_it_refuses_files_before_they_are_sent(
    alice: User, northwind: Handle, size: Any, status: int, told: str
) -> None:
    answer = announce(as_(alice), size=size)
    assert answer.status_code == status
    assert told in answer.json()["detail"]
    assert not FileImport.objects.exists()
    assert announce(as_(alice), size=uploads.MAX_BYTES).status_code == 200


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\exports\\may.csv", "may.csv"),
        ("a\x00b\r\n.csv", "ab.csv"),
        ("\u202egnp.csv", "gnp.csv"),
        ("  two   words .csv", "two words .csv"),
        ("\x00", "unnamed file"),
        ("", "unnamed file"),
        ("é" * 400 + ".csv", "é" * 251 + ".csv"),
        ("x" * 400, "x" * 255),
        ("<script>alert(1)</script>.csv", "script>.csv"),
    ],
)
def test_it_keeps_only_what_can_be_seen_of_a_name(alice: User, northwind: Handle, given: str, kept: str) -> None:
    assert announce(as_(alice), name=given).status_code == 200
    assert FileImport.objects.get().filename == kept


def test_it_needs_the_forms_token(alice: User, northwind: Handle) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert announce(client).status_code == 403
    assert not FileImport.objects.exists()


def test_it_drops_what_was_left_alone(alice: User, northwind: Handle) -> None:
    old = timezone.now() - uploads.ABANDONED_AFTER - timedelta(minutes=1)
    left = an_import(northwind, alice, ImportState.UPLOADING, created_at=old)
    ImportPiece.objects.create(file=left, offset=0, data=BODY)
    kept = [an_import(northwind, alice, ImportState.RUNNING, created_at=old), an_import(northwind, alice)]
    uploads.drop_abandoned()
    assert not ImportPiece.objects.exists()
    assert set(FileImport.objects.exclude(state=ImportState.CANCELLED)) == set(kept)
