"""Written predictions: kept on disk, shown back, and never in the way."""

import ipywidgets as widgets
import pytest

from vaekit.exercises.predictions import Prediction, answers_folder, kept_answers


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "answers"
    monkeypatch.setenv("VAEKIT_ANSWERS", str(path))
    return path


def test_an_answer_outlives_the_kernel_and_leaves_the_others_alone():
    Prediction("one", "What?").keep("σ → 0, I think\nor “not”")
    Prediction("two", "And?").keep("more")
    assert Prediction("one", "What?").answer == "σ → 0, I think\nor “not”"
    assert kept_answers() == {"one": "σ → 0, I think\nor “not”", "two": "more"}


def test_shown_back_before_and_after_something_was_written():
    guess = Prediction("one", "What?")
    assert "nothing yet" in guess.shown_back._repr_html_()
    guess.keep("<b>bold</b>")
    assert "&lt;b&gt;bold&lt;/b&gt;" in guess.shown_back._repr_html_()


def test_shown_back_follows_the_box_with_one_listener():
    guess = Prediction("one", "What?")
    for _ in range(5):
        assert "application/vnd.jupyter.widget-view+json" in guess.shown_back._repr_mimebundle_()
    assert "nothing yet" in guess.shown_back.widget.value and len(guess.listeners) == 1
    guess.keep("it falls")
    assert "it falls" in guess.shown_back.widget.value


def test_what_stands_where_no_widget_can_live():
    bundle = Prediction("one", "Is σ < 1?")._repr_mimebundle_()
    assert "Is σ &lt; 1?" in bundle["text/html"] and bundle["text/plain"] == "Prediction('one')"
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_writing_in_the_box_keeps_the_answer(monkeypatch):
    made = []
    real = widgets.Textarea

    def textarea(**options):
        made.append(real(**options))
        return made[-1]

    monkeypatch.setattr(widgets, "Textarea", textarea)
    guess = Prediction("one", "What?")
    guess._repr_mimebundle_()
    made[0].value = "it falls"
    assert guess.answer == "it falls" and kept_answers() == {"one": "it falls"}
    Prediction("one", "What?")._repr_mimebundle_()
    assert made[1].value == "it falls"


def test_a_file_that_is_none_is_no_hindrance(file):
    (file / "one.txt").mkdir(parents=True)
    (file / "two.txt").write_bytes(b"\xff\xfe")
    with pytest.warns(UserWarning, match="one.txt cannot be read"):
        assert Prediction("one", "What?").answer == ""
    with pytest.warns(UserWarning):
        assert Prediction("two", "What?").answer == "\ufffd\ufffd"


def test_where_nothing_can_be_written_the_answer_lives_as_long_as_the_kernel(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file, where a folder should be")
    monkeypatch.setenv("VAEKIT_ANSWERS", str(tmp_path / "taken" / "answers"))
    guess = Prediction("one", "What?")
    with pytest.warns(UserWarning, match="kept in this session only"):
        guess.keep("still here")
    assert guess.answer == "still here"


def test_where_answers_are_kept(monkeypatch, file):
    assert answers_folder() == file
    monkeypatch.delenv("VAEKIT_ANSWERS")
    assert answers_folder().name == "predictions" and "vaekit" in str(answers_folder())


def test_a_key_may_be_any_text(file):
    Prediction("../04: σ?", "What?").keep("mine")
    assert kept_answers() == {"../04: σ?": "mine"} and len(list(file.iterdir())) == 1
