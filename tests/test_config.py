from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cars.config import convert, resolve, setting
from cars.errors import SettingError
from cars.verbs import VERBS


@dataclass(frozen=True)
class Toy:
    size: int = setting(64, "Side in pixels.", minimum=8, maximum=512)
    mode: str = setting("fast", "How.", choices=("fast", "slow"))
    rate: float = setting(0.5, "Rate.")
    seedless: int | None = setting(None, "Maybe a number.")
    loud: bool = setting(False, "Say more.")


def test_layers_in_order():
    file = {"toy": {"size": 16, "mode": "slow", "rate": 1}}
    env = {"CARS_TOY_SIZE": "32", "CARS_TOY_LOUD": "yes"}
    got = resolve(Toy, "toy", {"rate": 2.5, "mode": None}, file, env)
    assert got == Toy(size=32, mode="slow", rate=2.5, seedless=None, loud=True)
    assert resolve(Toy, "toy", environment={}) == Toy()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("size", "big", "'big'"),
        ("size", 7, "at least 8"),
        ("size", 513, "at most 512"),
        ("size", 9.5, "9.5"),
        ("mode", "medium", "fast, slow"),
        ("loud", "maybe", "'maybe'"),
    ],
)
def test_a_wrong_value_is_quoted(name, value, words):
    with pytest.raises(SettingError) as caught:
        convert(Toy, name, value)
    assert words in str(caught.value)


def test_an_unknown_setting_lists_the_right_ones():
    with pytest.raises(SettingError, match=r"'sise'.*size, mode"):
        resolve(Toy, "toy", file={"toy": {"sise": 3}}, environment={})


@given(st.integers(8, 512))
def test_text_and_number_agree(value):
    assert convert(Toy, "size", str(value)) == convert(Toy, "size", value) == value


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda v: v.name)
def test_every_setting_of_every_verb_has_its_sentence(verb):
    import dataclasses

    function, settings = verb.load()
    assert callable(function)
    assert settings.__dataclass_params__.frozen
    for field in dataclasses.fields(settings):
        text = field.metadata.get("help", "")
        assert len(text) > 10, f"{verb.name}.{field.name} has no sentence"
        assert text[0].isupper(), f"{verb.name}.{field.name}: {text}"
        assert text.endswith((".", ")")), f"{verb.name}.{field.name}: {text}"
