import pytest

from stepladder.data.preparing import names
from stepladder.errors import UserError


def test_there_are_enough_pairs_for_the_default():
    pairs = names.pairs("uk")
    assert len(pairs) >= 15000
    assert dict(pairs)["Ukraine"] == "Україна"
    assert dict(names.pairs("de"))["Germany"] == "Deutschland"
    assert dict(names.pairs("ja"))["Japan"] == "日本"


@pytest.mark.parametrize("language", ["uk", "de", "zh_CN"])
def test_an_english_name_is_there_once_with_a_translation(language):
    pairs = names.pairs(language)
    assert pairs == sorted(set(pairs)) == names.pairs(language)
    assert len({english for english, _ in pairs}) == len(pairs)
    assert all(english and translation and english != translation for english, translation in pairs)


def test_the_languages_that_the_documentation_names_are_there():
    assert {"uk", "de", "fr", "zh_CN", "ja", "ru"} <= set(names.languages())


def test_an_unknown_language_is_refused_with_those_there_are():
    with pytest.raises(UserError, match=r"no names in 'xx'; there are: .*\buk\b"):
        names.pairs("xx")
