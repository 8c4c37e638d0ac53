"""Written predictions: kept on disk, shown back, and never in the way."""

import re

import pytest

from vaekit.exercises.predictions import Prediction, answers_folder, export, kept_answers


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "answers"
    monkeypatch.setenv("VAEKIT_ANSWERS", str(path))
    return path


def test_an_answer_outlives_the_kernel_and_leaves_the_others_alone():
    guess = Prediction("What?", key="one")
    guess.widget.children[1].value = "σ → 0, I think\nor “not”"
    Prediction("And?", key="two").keep("more")
    again = Prediction("What?", key="one")
    assert guess.text == again.text == again.widget.children[1].value == "σ → 0, I think\nor “not”"
    assert kept_answers() == {"one": guess.text, "two": "more"}


def test_shown_back_follows_the_box():
    guess = Prediction("What?", key="one")
    assert "application/vnd.jupyter.widget-view+json" in guess.shown_back._repr_mimebundle_()[0]
    assert "nothing yet" in guess.shown_back.widget.value
    guess.keep("<b>it falls</b>")
    assert "&lt;b&gt;it falls" in guess.shown_back.widget.value


def test_what_stands_where_no_widget_can_live():
    bundle, _ = Prediction("Is σ < 1?", key="one")._repr_mimebundle_()
    assert "Is σ &lt; 1?" in bundle["text/html"] and bundle["text/plain"] == "Prediction('one')"
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_a_file_that_is_none_is_no_hindrance(file):
    (file / "one.txt").mkdir(parents=True)
    (file / "two.txt").write_bytes(b"\xff\xfe")
    with pytest.warns(UserWarning, match="one.txt cannot be read"):
        assert Prediction("What?", key="one").text == ""
    with pytest.warns(UserWarning):
        assert Prediction("What?", key="two").text == "\ufffd\ufffd"


def test_where_nothing_can_be_written_the_answer_lives_as_long_as_the_kernel(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file, where a folder should be")
    monkeypatch.setenv("VAEKIT_ANSWERS", str(tmp_path / "taken" / "answers"))
    guess = Prediction("What?", key="one")
    with pytest.warns(UserWarning, match="kept in this session only"):
        guess.keep("still here")
    assert guess.text == "still here"


def test_a_key_may_be_any_text(monkeypatch, file):
    Prediction("What?", key="../04: σ?").keep("mine")
    assert kept_answers() == {"../04: σ?": "mine"} and len(list(file.iterdir())) == 1
    monkeypatch.delenv("VAEKIT_ANSWERS")
    assert answers_folder().name == "predictions" and "vaekit" in str(answers_folder())


CHOICES = ("it grows", "it shrinks", "nothing")


def test_a_choice_is_kept_with_the_line_of_ones_own_and_opens_the_answer():
    guess = Prediction("Prior off: what will σ do?", CHOICES, "it shrinks")
    assert "Choose above" in guess.shown_back._repr_html_() and "It is" not in guess.shown_back._repr_html_()
    _, buttons, box = guess.widget.children
    assert [button.description for button in buttons.children] == list(CHOICES)
    buttons.children[0].click()
    box.value = "it is free now"
    shown = guess.shown_back.widget.value
    for text in ("Prior off: what will σ do?", "it grows. it is free now", "<b>It is:</b> “it shrinks”"):
        assert text in shown
    again = Prediction("Prior off: what will σ do?", CHOICES, "it shrinks")
    assert (again.choice, again.text) == ("it grows", "it is free now")
    assert [b.button_style for b in again.widget.children[1].children] == ["primary", "", ""]
    again.pick("nothing")
    assert kept_answers() == {"Prior off: what will σ do?": "nothing\nit is free now"}
    assert [b.button_style for b in again.widget.children[1].children] == ["", "", "primary"]


def test_a_reason_before_a_choice_is_none():
    guess = Prediction("Q?", ["a", "b"], key="k")
    guess.keep("because\nof this")
    again = Prediction("Q?", ["a", "b"], key="k")
    assert (again.choice, again.text) == (None, "because\nof this")
    (row,) = answers = export()
    assert (row["choice"], row["text"]) == ("", "because\nof this") and answers.counts() == {"k": {}}
    assert "k (0 of 1)" in answers._repr_html_() and "<span" not in answers._repr_html_()
    again.pick("b")
    assert (Prediction("Q?", ["a", "b"], key="k").choice, export()[0]["choice"]) == ("b", "b")


def test_what_is_no_choice_or_no_table_is_refused(refuses, tmp_path):
    with refuses(ValueError, "answer must be one of it grows, it shrinks, nothing; not 'more'"):
        Prediction("What?", CHOICES, "more")
    with refuses(ValueError, "choice must be one of"):
        Prediction("What?", CHOICES).pick("more")
    with refuses(TypeError, "choices must be a list of texts, not 'yes'"):
        Prediction("What?", "yes", "yes")
    with refuses(ValueError, "the file's ending must be one of .csv, .html; not '.xlsx'"):
        export().save(tmp_path / "class.xlsx")


@pytest.mark.parametrize(
    ("question", "choices", "choice"),
    [("How many?", (1, 2.5, True), 2.5), ("潜" * 80, ["a", "b"], "b")],
)
def test_numbers_and_long_questions_are_kept(question, choices, choice):
    Prediction(question, choices, choice).pick(choice)
    again = Prediction(question, choices, choice)
    assert again.choice == again.answer == str(choice)
    assert again.choice in again.shown_back._repr_html_() and again.widget


def test_a_classs_answers_are_a_table_and_a_picture_of_how_they_are_spread(tmp_path, monkeypatch):
    """Of folders that have one name, with missing and hostile answers."""
    names = [f"learner {number}" for number in range(19)] + ["<b>eve"]
    for name in names:
        (folder := tmp_path / "submitted" / name / "03a" / "answers").mkdir(parents=True)
        monkeypatch.setenv("VAEKIT_ANSWERS", str(folder))
        if name != "learner 0":  # who has answered nothing
            Prediction("What?", CHOICES, key="<i>04</i>").pick("nothing" if name == "learner 1" else "it grows")
    Prediction("And?", key="own").keep("=HYPERLINK(0)\n-1.3")
    (tmp_path / "submitted" / ".DS_Store").write_text("")
    answers = export(*sorted((tmp_path / "submitted").glob("*/*/answers")), tmp_path / "submitted" / ".DS_Store")
    assert {row["learner"] for row in answers} == set(names[1:]) and len(answers) == 20
    assert answers.counts() == {"<i>04</i>": {"it grows": 18, "nothing": 1}, "own": {"=HYPERLINK(0)": 1}}
    assert [row["learner"] for row in export()] == ["answers"] * 2
    page = answers.save(tmp_path / "class.html").read_text(encoding="utf-8")
    assert "&lt;i&gt;04&lt;/i&gt; (19 of 20)" in page and not {"<i>", "<b>"} & set(re.findall("<.>", page))
    assert page.index("18 · it grows") < page.index("1 · nothing") and "width:18.95em" in page
    lines = answers.save(tmp_path / "class.csv").read_text(encoding="utf-8").splitlines()
    assert lines[:3] == ["learner,key,choice,text", "<b>eve,<i>04</i>,it grows,", "<b>eve,own,'=HYPERLINK(0),-1.3"]
