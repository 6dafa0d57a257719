"""When the copy of a moved job is as good as the job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controller.jobs.original import Document, Original
from controller.jobs.remote import Standing
from controller.jobs.whereabouts import whole

COPY = Standing(2_000_001, "urn:uuid:a", "held", "demo", "indefinite", 2, incoming=False, size_kb=3)


@pytest.fixture
def original(tmp_path: Path) -> Original:
    documents = []
    for place, size in enumerate((1025, 1)):
        path = tmp_path / f"{place}"
        path.write_bytes(b"x" * size)
        documents.append(Document(path, "text/plain", False))
    return Original("urn:uuid:a", 1_000_001, "office", "demo", "no-hold", b"", b"", tuple(documents))


def test_a_copy_is_whole_when_its_server_has_written_down_all_of_it(original: Original) -> None:
    assert whole(COPY, original)
    assert not whole(replace(COPY, documents=1), original)
    assert not whole(replace(COPY, incoming=True), original)
    assert not whole(replace(COPY, owner="alice"), original)


def test_a_file_that_its_server_died_over_is_no_document(original: Original) -> None:
    for size in (0, 2):
        assert not whole(replace(COPY, size_kb=size), original)


def test_an_empty_document_is_one(original: Original) -> None:
    for document in original.documents:
        document.path.write_bytes(b"")
    assert whole(replace(COPY, size_kb=0), original)
