"""The phrase language, the shipped file, and phrases of a workspace's own."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cars import schema
from cars.concepts.lexicon import Tree, lexicon, stem, tokens_of
from cars.errors import SettingError


def found(phrase: str, text: str) -> list[str]:
    tree = Tree()
    tree.add(phrase, ("x", "present"))
    tokens = tokens_of(text, 0, len(text))
    return [text[tokens[h.first].start : tokens[h.last - 1].end] for h in tree.hits(tokens)]


@pytest.mark.parametrize(
    ("phrase", "text", "matches"),
    [
        ("mass", "Two masses, massive MASS", ["masses", "MASS"]),
        ("opacity", "opacities and opacity", ["opacities", "opacity"]),
        ("air space", "air-space airspace air space", ["air-space", "air space"]),
        ("(lung|lobar) collapse", "lobar collapse, lobe collapse", ["lobar collapse"]),
        ("pleural [free] fluid", "pleural fluid or pleural free fluid", ["pleural fluid", "pleural free fluid"]),
        ("suggest*", "suggests suggestive sugges", ["suggests", "suggestive"]),
        ("blunting of ... angle", "blunting of the left lateral costophrenic angle", None),
        ("blunting of ... angle", "blunting of angle", None),
        ("blunting of ... angle", "blunting of one two three four five six angle", []),
        ("blunting of ... angle", "blunting of the left, and the right angle", []),
        ("lung are clear", "lungs, are clear", []),
        ("w/o", "W/O effusion", ["W/O"]),
        ("?", "pneumonia?", ["?"]),
        ("sulcus", "sulcus", ["sulcus"]),
    ],
)
def test_phrases_find_what_they_say(phrase, text, matches):
    assert found(phrase, text) == ([text] if matches is None else matches)


def test_the_longest_form_counts():
    assert found("pleural [effusion]", "pleural effusion") == ["pleural effusion"]


@pytest.mark.parametrize("phrase", ["(a|b", "a|b)", "a [b", "a ...", "... a", "[a]", "", "(a] b"])
def test_a_wrong_phrase_is_quoted(phrase):
    with pytest.raises(SettingError, match=re.escape(repr(phrase))):
        Tree().add(phrase, ("x", "present"))


WORDS = st.lists(st.sampled_from(["a1", "b1", "c1", "d1"]), min_size=1, max_size=8)


@given(WORDS, st.integers(0, 3), st.integers(1, 3))
def test_the_tree_finds_a_plain_phrase_wherever_a_search_finds_it(words, start, length):
    phrase = words[start : start + length]
    if not phrase:
        return
    tree = Tree()
    tree.add(" ".join(phrase), ("x", "present"))
    tokens = tokens_of(" ".join(words), 0, 1000)
    places = [n for n in range(len(words)) if words[n : n + len(phrase)] == phrase]
    assert [h.first for h in tree.hits(tokens)] == places


@pytest.mark.parametrize(
    ("word", "plain"),
    [("Effusions", "effusion"), ("masses", "mass"), ("opacities", "opacity"), ("is", "is"), ("sulcus", "sulcus")],
)
def test_plural_endings(word, plain):
    assert stem(word) == plain


def test_the_shipped_file_has_the_concepts_of_the_schema():
    shipped = lexicon()
    assert tuple(shipped.concepts) == schema.CONCEPTS
    for concept in shipped.concepts.values():
        assert concept.means.endswith(".")
        assert concept.group
        assert concept.findings
        assert set(concept.findings) <= set(schema.FINDINGS)


def test_a_workspace_adds_replaces_and_invents():
    text = "No ETT. A space occupying lesion. A mass."

    def concepts_of(own):
        tokens = tokens_of(text, 0, len(text))
        hits = [h for h in lexicon(own).tree.hits(tokens) if h.label[0]]
        return {(h.label[0], text[tokens[h.first].start : tokens[h.last - 1].end]) for h in hits}

    own = {"mass": {"present": ["space occupying lesion"]}, "support tube": {"present": ["ETT"], "findings": []}}
    assert concepts_of({}) == {("mass", "mass")}
    assert concepts_of(own) == {("mass", "mass"), ("mass", "space occupying lesion"), ("support tube", "ETT")}
    own["mass"]["replace"] = True
    assert ("mass", "mass") not in concepts_of(own)
    assert lexicon(own).concepts["mass"].findings == ("Lung Lesion",)
    assert lexicon(own).key != lexicon().key == lexicon({}).key


@pytest.mark.parametrize(
    ("own", "quoted"),
    [
        ({"Mass": {"present": ["x"]}}, "'Mass'"),
        ({"new one": {}}, "no phrase"),
        ({"mass": {"presents": ["x"]}}, "presents"),
        ({"mass": {"present": "x"}}, "no list"),
        ({"mass": {"findings": ["Masses"]}}, "Masses"),
        ({"mass": "x"}, "'x'"),
        ({"mass": {"present": ["(x"]}}, "(x"),
    ],
)
def test_wrong_phrases_of_a_workspace_are_refused(own, quoted):
    with pytest.raises(SettingError, match=re.escape(quoted)):
        lexicon(own)
