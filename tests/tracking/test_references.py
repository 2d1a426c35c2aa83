"""One reading of names for every verb: exact first, then the only one that begins so."""

import pytest

from stepladder.errors import UserError
from stepladder.tracking import references, store
from stepladder.tracking.references import version


@pytest.fixture
def client(project):
    client = store.client()
    for name, count in (("diffusion", 1), ("diffusion-digits", 11), ("transformer-names", 2)):
        client.create_registered_model(name)
        for _ in range(count):
            client.create_model_version(name, source="file:///nowhere")
    client.set_registered_model_alias("diffusion-digits", "champion", "3")
    client.set_registered_model_alias("diffusion-digits", "challenger", "11")
    client.set_registered_model_alias("diffusion", "champion", "1")
    return client


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("models:/diffusion-digits/1", ("diffusion-digits", "1")),
        ("models:/diffusion-digits/11", ("diffusion-digits", "11")),
        ("models:/diffusion-digits/latest", ("diffusion-digits", "11")),
        ("models:/diffusion-digits@champion", ("diffusion-digits", "3")),
        ("diffusion-digits@champion", ("diffusion-digits", "3")),
        ("diffusion-digits@champ", ("diffusion-digits", "3")),
        ("diffusion-digits@CHALLENGER", ("diffusion-digits", "11")),
        ("diffusion-digits", ("diffusion-digits", "3")),
        ("diffusion", ("diffusion", "1")),
        ("diffusion-", ("diffusion-digits", "3")),
        ("trans/2", ("transformer-names", "2")),
    ],
)
def test_what_a_reference_means(client, reference, expected):
    assert version(client, reference) == expected


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (
            "diffusion-digits@cha",
            "of diffusion-digits it has: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, @challenger, @champion",
        ),
        ("diff", "diff may be any of diffusion, diffusion-digits"),
        ("diffusion-digits/12", "is not in the registry"),
        ("transformer-names", "of transformer-names it has: 1, 2"),
        ("digits", "digits is not in the registry; it has the models: diffusion, diffusion-digits, transformer-names"),
        ("models/diffusion/T10", "names no version of a model"),
    ],
)
def test_what_none_means(client, reference, words):
    with pytest.raises(UserError, match=words):
        version(client, reference)


def test_more_models_than_a_page(project):
    client = store.client()
    for number in range(120):
        client.create_registered_model(f"m{number:03d}")
    assert len(references.names(client)) == 120
    assert references.name(client, "m119") == "m119"
