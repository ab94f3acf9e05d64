"""Claims about reading a node's text files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.replay import Cell
from nodes.errors import NodeError
from nodes.text.documents import Budgets, Divider
from nodes.text.files import parse_texts, read_texts, write_texts


def read(tmp_path: Path, name: str, content: str | bytes, column: str = "text") -> list[str]:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_texts(path, column)


def test_a_line_of_plain_text_is_a_document(tmp_path: Path) -> None:
    assert read(tmp_path, "a.txt", "one\r\n\n  two  \nthree") == ["one", "two", "three"]


def test_a_paragraph_of_markdown_is_a_document_under_its_heading(tmp_path: Path) -> None:
    content = (
        "# Heart\n\n## Valves\n\nThe valve\nleaks.\n\nIt is old.\n# Eye\nThe lens is cloudy.\n\n"
        "```\ncode\n\n# no heading\n```\n\n# Nothing below\n"
    )
    assert read(tmp_path, "a.md", content) == [
        "# Heart\n## Valves\nThe valve\nleaks.",
        "It is old.",
        "# Eye\nThe lens is cloudy.",
        "```\ncode\n\n# no heading\n```",
    ]


@pytest.mark.parametrize(
    "content",
    [
        'id,text\n1,"one, ""first"""\n2,two\n\n3,\n',
        'text;id\n"one, ""first""";1\ntwo;2\n',
        '\ufefftext\tid\r\n"one, ""first"""\t1\r\ntwo\t2\r\n',
        'anything\n"one, ""first"""\ntwo\n',
    ],
    ids=["commas", "semicolons", "tabs and a byte order mark", "the only column"],
)
def test_a_row_of_a_table_is_a_document(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, "a.csv", content) == ['one, "first"', "two"]


def test_a_table_may_name_another_column_and_a_cell_hold_several_lines(tmp_path: Path) -> None:
    assert read(tmp_path, "a.csv", 'id,note\n1,"one\ntwo"\n', "note") == ["one\ntwo"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id,name\n1,one\n"),
        ("a.csv", "text,text\n1,one\n"),
        ("a.csv", "id,text\n1,one,more\n"),
        ("a.csv", 'id,text\n1,"cut of'),
        ("a.csv", ""),
        ("a.jsonl", '{"text": "one"}\n{"text": 1}\n'),
        ("a.jsonl", '{"text": "one"}\n{"te'),
        ("a.jsonl", '["text"]\n'),
        ("a.jsonl", '{"text": "\\ud800"}\n'),
        ("a.jsonl", "[" * 100_000),
        ("a.txt", b"caf\xe9\n"),
        ("a.pdf", "text"),
    ],
)
def test_what_is_not_of_its_form_is_refused_with_its_place(
    tmp_path: Path, name: str, content: str | bytes
) -> None:
    with pytest.raises(NodeError, match="bad-text") as refused:
        read(tmp_path, name, content)
    assert name in refused.value.sentence


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="no-text"):
        read_texts(tmp_path / "none.txt")
    with pytest.raises(NodeError, match=r"no-text: .* is a folder"):
        read_texts(tmp_path)


def test_a_long_cell_is_read_whole_and_cut_where_a_long_object_is(tmp_path: Path) -> None:
    long = "word " * 33_000  # 165,000 bytes; the csv module stops at 131,072
    (text,) = read(tmp_path, "a.csv", f"id,text\n1,{long}\n")
    assert text == long.strip()
    divider = Divider(b"key", Budgets(document=1000))
    of_table = divider.document(Cell("s", None), text)
    of_object = divider.document(Cell("s", None), parse_texts(Path("a.txt"), long.encode())[0])
    assert of_table == of_object
    assert of_table is not None
    assert len(of_table.text) == 1000


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "Größe"),
        ("a.md", "Größe"),
        ("a.jsonl", '{"text": "Größe"}'),
        ("a.csv", "text\nGröße"),
    ],
)
def test_a_byte_order_mark_is_no_text(
    tmp_path: Path, name: str, content: str, encoding: str
) -> None:
    assert read(tmp_path, name, content.encode(encoding)) == ["Größe"]


def test_text_in_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=r"a\.txt, line 2: this is not UTF-8 text"):
        read(tmp_path, "a.txt", "one\nGröße\n".encode("latin-1"))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.jsonl"
    write_texts(path, texts)
    assert read_texts(path) == [text.strip() for text in texts if text.strip()]


@given(st.binary(max_size=200), st.sampled_from([".txt", ".md", ".jsonl", ".csv"]))
def test_any_bytes_give_documents_or_a_refusal(data: bytes, ending: str) -> None:
    try:
        texts = parse_texts(Path(f"a{ending}"), data)
    except NodeError as error:
        assert error.code == "bad-text"
    else:
        assert all(text.strip() for text in texts)
