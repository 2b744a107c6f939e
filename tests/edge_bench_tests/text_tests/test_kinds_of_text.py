"""Options of each kind of text, and what is told of files that cannot be used."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pytest

from edge_bench.data import open_texts
from edge_bench.errors import ConfigError, DataError


def labelled(path: Path, **options: Any) -> Any:
    return open_texts({"kind": "labelled_text", "path": str(path), **options})


def running(path: Path, **options: Any) -> Any:
    return open_texts({"kind": "running_text", "path": str(path), **options})


def parallel(path: Path, **options: Any) -> Any:
    return open_texts({"kind": "parallel_text", "path": str(path), **options})


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


ROWS = "".join(f"bad film {n}\t0\ngood film {n}\t1\n" for n in range(10))


def test_rows_of_one_file_give_each_class_to_each_split(tmp_path: Path) -> None:
    source = labelled(written(tmp_path / "all.tsv", ROWS))
    for split, each in (("train", 8), ("selection", 1), ("test", 1)):
        examples = source.load(split)
        assert sorted(examples.labels.tolist()) == [0] * each + [1] * each
        assert [text.startswith("good") for text in examples.texts] == (examples.labels == 1).tolist()


def test_columns_by_name_are_found_in_the_header(tmp_path: Path) -> None:
    file = tmp_path / "all.csv"
    rows = "".join(f'{n},pos,"fine, and ""{n}"""\n{n},neg,awful {n}\n' for n in range(5))
    written(file, "id,mood,said\n" + rows)
    source = labelled(file, text_column="said", label_column="mood", test_fraction=0.2)
    examples = source.load("train")
    assert examples.class_names == ("neg", "pos") and len(examples.texts) == 6
    assert all(re.fullmatch(r'fine, and "\d"|awful \d', text) for text in examples.texts)
    with pytest.raises(DataError, match="has the columns id, mood, said; 'text' is expected"):
        labelled(file, text_column="text", label_column="mood").load("train")


def test_columns_by_number_and_any_delimiter(tmp_path: Path) -> None:
    file = written(tmp_path / "all.txt", ROWS.replace("\t", ";"))
    turned = written(tmp_path / "b.tsv", "".join(f"{n % 2}\ttext {n}\n" for n in range(8)))
    assert len(labelled(file, delimiter=";").load("train").texts) == 16
    assert labelled(turned, text_column=1, label_column=0).load("train").class_names == ("0", "1")
    with pytest.raises(DataError, match="has 1 column; column 1, counted from 0, is asked for"):
        labelled(file).load("train")
    with pytest.raises(ConfigError, match="one character"):
        labelled(file, delimiter="::").load("train")


def test_a_quoted_text_may_span_lines_and_lines_stay_counted(tmp_path: Path) -> None:
    rows = '"two\nlines",a\nplain,b\n"again\ntwo",a\nplain,c\n'
    source = labelled(written(tmp_path / "all.csv", rows), class_names=["a", "b"])
    with pytest.raises(
        DataError, match=r"all.csv' line 6: label 'c' is none of the classes a, b, or 0 to 1$"
    ):
        source.load("train")
    with pytest.raises(DataError, match="line 2 is no row of CSV"):
        labelled(written(tmp_path / "open.csv", 'fine,1\n"never closed,1\n')).load("train")


def test_given_class_names_take_names_and_numbers(tmp_path: Path) -> None:
    names = ["negative", "positive"]
    by_name = ROWS.replace("\t0", "\tnegative").replace("\t1", "\tpositive")
    one = labelled(written(tmp_path / "a.tsv", ROWS), class_names=names).load("train")
    other = labelled(written(tmp_path / "b.tsv", by_name), class_names=names).load("train")
    assert one.labels.tolist() == other.labels.tolist() and one.class_names == tuple(names)
    # Names that are numbers are no places: "1" is the first class here.
    file = written(tmp_path / "c.tsv", ROWS.replace("\t1", "\t2").replace("\t0", "\t1"))
    assert labelled(file, class_names=["1", "2"]).load("train").labels.tolist() == one.labels.tolist()
    with pytest.raises(DataError, match="line 1: label '0' is none of the classes 1, 2$"):
        labelled(tmp_path / "a.tsv", class_names=["1", "2"]).load("train")
    for wrong in (["a"], ["a", "a"]):
        with pytest.raises(ConfigError, match="at least 2 different"):
            labelled(file, class_names=wrong).load("train")


def test_a_label_out_of_range_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 21: label '2' is none of the classes bad, good, or 0 to 1"):
        labelled(written(tmp_path / "a.tsv", ROWS + "more\t2\n"), class_names=["bad", "good"]).load("test")
    (tmp_path / "parts").mkdir()
    written(tmp_path / "parts" / "train.tsv", ROWS)
    written(tmp_path / "parts" / "test.tsv", "fine\t1\nbad\t7\n")
    with pytest.raises(DataError, match=r"test.tsv' line 2: label '7' is none of the classes 0, 1$"):
        labelled(tmp_path / "parts").load("test")
    with pytest.raises(DataError, match="line 2 has no label"):
        labelled(written(tmp_path / "b.tsv", "fine\t1\nbad\t\n")).load("train")


def test_a_header_that_nobody_named_is_no_class(tmp_path: Path) -> None:
    words = ROWS.replace("\t0", "\tno").replace("\t1", "\tyes")
    for rows in (ROWS, words):
        file = written(tmp_path / "headed.tsv", "sentence\tlabel\n" + rows)
        with pytest.raises(DataError, match="line 1: label 'label' is not like the others") as raised:
            labelled(file).load("train")
        assert "data.text_column" in raised.value.hint
        found = labelled(file, text_column="sentence", label_column="label").load("train")
        assert len(found.class_names) == 2


def test_empty_lines_are_counted_or_left_out(tmp_path: Path) -> None:
    file = written(tmp_path / "a.tsv", "\n" + ROWS + "\n   \n\t1\n")
    with pytest.raises(DataError, match=r"a.tsv' line 1 is empty, as are 3 more, of 24") as raised:
        labelled(file).load("train")
    assert "skip_empty" in raised.value.hint
    examples = labelled(file, skip_empty=True).load("train")
    assert (len(examples.texts), examples.skipped) == (16, 4)


def test_rows_that_cannot_be_used_are_told_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2 has 3 columns; the first row has 2"):
        labelled(written(tmp_path / "a.tsv", "a\t1\nb\tc\t0\n")).load("train")
    with pytest.raises(DataError, match="holds nothing"):
        labelled(written(tmp_path / "b.tsv", "")).load("train")
    with pytest.raises(DataError, match="holds no row"):
        labelled(written(tmp_path / "c.tsv", "text\tlabel\n"), text_column="text").load("train")
    with pytest.raises(DataError, match="label '1' only"):
        labelled(written(tmp_path / "d.tsv", "a\t1\nb\t1\n")).load("train")
    with pytest.raises(DataError, match="too few examples of a class, 2; at least 3"):
        labelled(written(tmp_path / "e.tsv", ROWS + "a\t2\nb\t2\n")).load("train")


def test_a_damaged_gzip_file_is_told(tmp_path: Path) -> None:
    whole = gzip.compress(ROWS.encode())
    for content in (whole[:-9], ROWS.encode(), whole[:10] + bytes(20)):
        (tmp_path / "a.tsv.gz").write_bytes(content)
        with pytest.raises(DataError, match="a.tsv.gz' is no whole gzip file"):
            labelled(tmp_path / "a.tsv.gz").load("train")


def test_running_text_is_cut_in_one_piece_for_each_split(tmp_path: Path) -> None:
    text = "".join(chr(ord("a") + n % 26) for n in range(1000))
    source = running(written(tmp_path / "a.txt", text), selection_fraction=0.2, test_fraction=0.1)
    parts = [source.load(split).text for split in ("train", "selection", "test")]
    assert "".join(parts) == text and [len(part) for part in parts] == [700, 200, 100]


def test_a_file_serves_one_split(story: Path) -> None:
    source = running(story, train="valid.txt", selection_fraction=0.25)
    valid = (story / "valid.txt").read_text()
    assert source.load("train").text + source.load("selection").text == valid
    assert source.load("test").text == (story / "test.txt").read_text()
    with pytest.raises(ConfigError, match="data.train and data.test name the same file"):
        running(story, train="test.txt", test="test.txt").load("train")
    with pytest.raises(ConfigError, match="folder of both|names another"):
        running(story / "train.txt", test="test.txt").load("train")
    with pytest.raises(DataError, match="no file .*other.txt"):
        running(story, test="other.txt").load("test")


def test_the_first_characters_of_each_split_may_be_asked_for(story: Path) -> None:
    whole, limited = running(story), running(story, limit_characters=100)
    for split in ("train", "selection", "test"):
        assert limited.load(split).text == whole.load(split).text[:100]
    with pytest.raises(ConfigError, match="limit_characters is -1"):
        running(story, limit_characters=-1).load("train")


def test_empty_lines_belong_to_running_text_but_alone_are_none(tmp_path: Path) -> None:
    file = written(tmp_path / "a.txt", "one\n\n two\n" * 10)
    assert running(file, test_fraction=0, selection_fraction=0).load("train").text == file.read_text()
    with pytest.raises(DataError, match="holds no text for the train split"):
        running(written(tmp_path / "b.txt", " \n\n\t\n")).load("train")


def test_pairs_stay_together(pairs: Path) -> None:
    examples = parallel(pairs).load("train")
    backward = parallel(pairs, source="de", target="en", limit=7).load("train")
    assert len(examples.sources) == 240
    assert backward.sources == examples.targets[:7] and backward.targets == examples.sources[:7]
    assert all(
        len(a.split()) == len(b.split()) for a, b in zip(examples.sources, examples.targets, strict=True)
    )


def test_other_pairs_are_named_by_stem_or_by_both_files(pairs: Path, tmp_path: Path) -> None:
    for file in pairs.iterdir():
        (tmp_path / file.name.replace("test", "test_2016")).write_bytes(file.read_bytes())
    with pytest.raises(DataError, match="no pair called 'test', but 'test_2016'") as raised:
        parallel(tmp_path).load("train")
    assert "data.test=test_2016" in raised.value.hint
    expected = parallel(pairs).load("test")
    assert parallel(tmp_path, test="test_2016").load("test") == expected
    assert parallel(tmp_path, test=["test_2016.en", "test_2016.de"]).load("test") == expected
    with pytest.raises(DataError, match="no files test_2017.en and test_2017.de"):
        parallel(tmp_path, test="test_2017").load("test")


def test_unequal_line_counts_are_both_told(tmp_path: Path) -> None:
    written(tmp_path / "train.en", "a\nb\nc\n")
    written(tmp_path / "train.de", "x\ny\n")
    with pytest.raises(DataError, match=r"train.en' has 3 lines and .*train.de' has 2"):
        parallel(tmp_path).load("train")


def test_empty_lines_leave_out_both_sides(tmp_path: Path) -> None:
    written(tmp_path / "train.en", "a\n\nc\nd\ne\nf\n")
    written(tmp_path / "train.de", "A\nB\nC\n \nE\nF\n")
    with pytest.raises(DataError, match=r"train.en' line 2 is empty, of 6"):
        parallel(tmp_path).load("train")
    examples = parallel(tmp_path, skip_empty=True, test_fraction=0, selection_fraction=0).load("train")
    assert examples.sources == ("a", "c", "e", "f") and examples.targets == ("A", "C", "E", "F")
    assert examples.skipped == 2


def test_half_a_pair_and_no_folder_are_told(tmp_path: Path) -> None:
    written(tmp_path / "train.en", "a\n")
    with pytest.raises(DataError, match=r"there is '.*train.en' but no file '.*train.de'"):
        parallel(tmp_path).load("train")
    with pytest.raises(DataError, match="is no folder"):
        parallel(tmp_path / "train.en").load("train")
    with pytest.raises(ConfigError, match="both 'en'"):
        parallel(tmp_path, target="en").load("train")


def test_real_text_has_its_published_size(shared_data: Path) -> None:
    folder = shared_data / "text"
    if not folder.is_dir():
        pytest.skip(f"no text in {folder}")
    sst = labelled(folder / "sst2")
    assert [len(sst.load(split).texts) for split in ("train", "selection", "test")] == [6920, 872, 1821]
    multi30k = parallel(folder / "multi30k", test="test_2016_flickr")
    assert [len(multi30k.load(s).sources) for s in ("train", "selection", "test")] == [29000, 1014, 1000]
    wikitext = running(folder / "wikitext2", train="valid.txt.gz")
    assert sum(len(wikitext.load(split).text) for split in ("train", "selection")) == 1120192
