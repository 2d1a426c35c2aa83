import pytest
import torch

from stepladder.data.texts import encode
from stepladder.data.tokenizer import train
from stepladder.diffusion import requests
from stepladder.errors import UserError
from stepladder.params import Sampling
from tests.describing import described_model

TOKENIZER = train(["a cat", "a dog", "two cats", "two dogs"], "bpe", 64)
CLASSES = {"classes": ["noto", "twemoji"], "label_dropout": 0.1, "timesteps": 50}
TEXTS = CLASSES | {"model": {"vocabulary": TOKENIZER.get_vocab_size(), "text_length": 6}}
ONLY_TEXTS = TEXTS | {"classes": []}
NOTHING = CLASSES | {"classes": []}


@pytest.mark.parametrize(
    ("config", "labels", "texts", "expected"),
    [
        (CLASSES, None, None, [("noto", ""), ("twemoji", ""), ("noto", "")]),
        (CLASSES, ["twemoji"], None, [("twemoji", "")] * 3),
        (TEXTS, ["twemoji", "noto"], ["a cat"], [("twemoji", "a cat")] * 3 + [("noto", "a cat")] * 3),
        (TEXTS, None, ["a cat"], [("noto", "a cat"), ("twemoji", "a cat"), ("noto", "a cat")]),
        (TEXTS, None, None, [("", "")] * 3),
        (ONLY_TEXTS, None, ["a cat", "a dog"], [("", "a cat")] * 3 + [("", "a dog")] * 3),
        (NOTHING, None, None, [("", "")] * 3),
    ],
)
def test_rows_are_classes_times_texts(config, labels, texts, expected):
    assert list(zip(*requests.expand(described_model(config), labels, texts, 3), strict=True)) == expected


def test_a_condition_is_class_numbers_and_tokens():
    asked = requests.condition(described_model(TEXTS), TOKENIZER, ["twemoji", "noto"], [" a\tcat ", "two dogs"])
    assert asked["labels"].tolist() == [1, 0]
    assert torch.equal(asked["text"], torch.from_numpy(encode(TOKENIZER, ["a cat", "two dogs"], 6)))


def test_nothing_asked_is_the_hidden_class_and_no_text():
    asked = requests.condition(described_model(TEXTS), TOKENIZER, ["", "noto"], ["", "a dog"])
    assert asked["labels"].tolist() == [2, 0]
    assert not asked["text"][0].any()
    assert asked["text"][1].any()
    assert requests.condition(described_model(NOTHING), None, ["", ""], ["", ""])["labels"].tolist() == [0, 0]
    assert set(requests.condition(described_model(CLASSES), None, ["noto"], [""])) == {"labels"}


@pytest.mark.parametrize(
    ("config", "label", "text", "sentence"),
    [
        (CLASSES, "emojione", "", "does not know the class emojione; it knows: noto, twemoji"),
        (NOTHING, "noto", "", "does not know the class noto; it knows: none"),
        (CLASSES, "noto", "a cat", "knows no text"),
        (TEXTS, "noto", "", "give both. Its classes are: noto, twemoji"),
        (TEXTS, "", "a cat", "give both"),
        (TEXTS, "noto", " \n", "cannot be drawn: empty text"),
        (CLASSES | {"label_dropout": 0.0}, "", "", r"always told .* name a class; it knows: noto, twemoji"),
        (ONLY_TEXTS | {"label_dropout": 0.0}, "", "", "always told .* name a text"),
    ],
)
def test_what_the_model_cannot_do_is_one_sentence(config, label, text, sentence):
    tokenizer = TOKENIZER if "model" in config else None
    with pytest.raises(UserError, match=sentence):
        requests.condition(described_model(config), tokenizer, [label], [text])


def test_a_model_without_its_tokenizer_is_refused(tmp_path):
    assert requests.tokenizer(tmp_path, described_model(CLASSES)) is None
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read"):
        requests.tokenizer(tmp_path, described_model(TEXTS))


def test_a_model_that_enlarges_draws_nothing_from_noise_alone():
    requests.check_generates(described_model(TEXTS))
    with pytest.raises(UserError, match=r"16 pixels a side .* `stepladder upscale`"):
        requests.check_generates(described_model(CLASSES | {"model": {"low_resolution": 16}}))


def test_options_go_before_overrides_and_those_before_the_model_s_way():
    assert requests.sampling(described_model(CLASSES), {}, {"sampler": None}) == Sampling()
    usual = {"eta": 0.1, "guidance_scale": 2.0, "sampler": "ddim"}
    made = requests.sampling(
        described_model(CLASSES),
        usual,
        {"guidance_scale": 4.0, "spacing": None},
        ["sampling.eta=0.5", "sampling.guidance_scale=3"],
    )
    assert made == Sampling(sampler="ddim", eta=0.5, guidance_scale=4.0)
    assert requests.sampling(described_model(CLASSES | {"process": "flow"}), {}, {}).sampler == "euler"
    assert requests.sampling(described_model(CLASSES | {"process": "flow"}), usual, {}).sampler == "ddim"


@pytest.mark.parametrize("asked", ["dpmpp_2m", "heun", "ancestral"])
def test_another_sampler_leaves_behind_what_only_the_usual_one_uses(asked):
    usual = {"sampler": "ancestral", "variance": "learned", "guidance_scale": 2.0}
    made = requests.sampling(described_model(CLASSES), usual, {"sampler": asked})
    expected = {"variance": "learned"} if asked == "ancestral" else {}
    assert made == Sampling(sampler=asked, guidance_scale=2.0, **expected)
    assert requests.sampling(described_model(CLASSES), usual, {}, [f"sampling.sampler={asked}"]) == made


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("diffusion.flip=true", "diffusion says nothing of how pictures are drawn"),
        ("sampling.eta=2", "less than or equal to 1"),
        ("sampling.etta=0.5", "etta is not a parameter"),
        ("sampling.eta=0.5", "sampling.eta=0.5 with sampling.sampler=ancestral: only ddim uses it"),
        ("sampling.churn=10", "sampling.churn=10.0 with sampling.sampler=ancestral: only heun uses it"),
        ("eta", "is not KEY=VALUE"),
    ],
)
def test_overrides_of_anything_else_are_refused(override, sentence):
    with pytest.raises(UserError, match=sentence):
        requests.sampling(described_model(CLASSES), {}, {}, [override])


def test_steps():
    assert requests.steps(described_model(CLASSES), None, None) == 20
    assert requests.steps(described_model(CLASSES | {"timesteps": 5}), None, None) == 5
    assert requests.steps(described_model(CLASSES), 7, None) == 7
    assert requests.steps(described_model(CLASSES), 7, 3) == 3
