from unittest.mock import Mock

import datasets
import huggingface_hub
import pytest

from stepladder.data import hub
from stepladder.errors import UserError
from tests.data.mirror import pairs_repository, pictures_repository


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv("STEPLADDER_MIRROR", str(folder))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return folder


def test_a_data_set_is_found_by_its_full_name_before_its_last(mirror):
    pairs_repository(mirror / "numbers", count=70)
    assert hub.load("someone/numbers").num_rows["train"] == 70
    pairs_repository(mirror / "someone" / "numbers", count=90)
    assert hub.load("someone/numbers").num_rows["train"] == 90
    assert hub.load("numbers").num_rows["train"] == 70


def test_pictures_keep_their_features(mirror):
    pictures_repository(mirror / "tiny")
    features = hub.load("tiny")["train"].features
    assert isinstance(features["image"], datasets.Image)
    assert features["label"].names == ["boat", "cat"]


def test_what_is_not_in_the_mirror_is_refused_with_what_is(mirror):
    pairs_repository(mirror / "numbers")
    with pytest.raises(UserError, match=r"absent is not in STEPLADDER_MIRROR=.*mirror, which has: numbers"):
        hub.load("someone/absent")


def test_a_mirror_that_is_no_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("STEPLADDER_MIRROR", str(tmp_path / "absent"))
    with pytest.raises(UserError, match=r"STEPLADDER_MIRROR=.*absent is not a folder; name one"):
        hub.load("someone/numbers")


def test_an_unknown_configuration_is_refused_with_those_there_are(mirror):
    pictures_repository(mirror / "tiny")
    with pytest.raises(UserError, match=r"tiny \(configuration absent\) cannot be read from .*default"):
        hub.load("tiny", "absent")


def test_a_folder_without_data_is_refused_in_one_line(mirror):
    (mirror / "hollow").mkdir()
    with pytest.raises(UserError, match="hollow cannot be read") as refused:
        hub.load("hollow")
    assert "\n" not in str(refused.value)


def test_the_licence_is_the_card_s(mirror):
    pictures_repository(mirror / "tiny")
    assert hub.licence("someone/tiny") == "cc-by-4.0"
    (mirror / "bare").mkdir()
    assert hub.licence("bare") == "not stated"
    (mirror / "silent").mkdir()
    (mirror / "silent/README.md").write_text("---\npretty_name: Silent\n---\nNo word of it.\n")
    assert hub.licence("silent") == "not stated"
    (mirror / "damaged").mkdir()
    (mirror / "damaged/README.md").write_text("---\nlicense: [mit\n---\n")
    assert hub.licence("damaged") == "not known"


@pytest.mark.parametrize(("failure", "said"), [("absent", "not stated"), ("unreachable", "not known")])
def test_a_licence_that_could_not_be_asked_for_is_not_known(monkeypatch, failure, said):
    from huggingface_hub.errors import RemoteEntryNotFoundError

    def load(name, **options):
        raise {
            "absent": RemoteEntryNotFoundError("404", response=Mock(headers={})),
            "unreachable": ConnectionError("no route to host"),
        }[failure]

    monkeypatch.delenv("STEPLADDER_MIRROR", raising=False)
    monkeypatch.setattr(huggingface_hub.DatasetCard, "load", load)
    assert hub.licence("someone/absent") == said


def test_without_a_network_the_sentence_says_what_to_set(monkeypatch):
    def unreachable(self, name, **options):
        assert options["timeout"] <= 10
        raise ConnectionError("Name or service not known")

    monkeypatch.delenv("STEPLADDER_MIRROR", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    with pytest.raises(UserError, match=r"someone/absent \(Name or service not known\).* STEPLADDER_MIRROR") as refused:
        hub.load("someone/absent")
    assert "\n" not in str(refused.value)


def test_what_the_hub_does_not_know_is_refused(monkeypatch):
    from huggingface_hub.errors import RepositoryNotFoundError

    def unknown(self, name, **options):
        raise RepositoryNotFoundError("404", response=Mock(headers={}))

    monkeypatch.delenv("STEPLADDER_MIRROR", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unknown)
    with pytest.raises(UserError, match="no file, folder or public hub data set 'digitz'"):
        hub.load("digitz")


def test_a_path_that_is_not_there_is_not_looked_up_on_the_hub(tmp_path):
    for name in (str(tmp_path / "absent"), "./absent", "../a/b", "a/b/c"):
        with pytest.raises(UserError, match="There is no file or folder"):
            hub.load(name)
