import numpy as np
import pytest
from PIL import Image

from stepladder.data import picture_files
from stepladder.errors import UserError
from tests.data.made import picture, pixels


def test_a_picture_of_the_model_s_size_is_read_as_it_is(tmp_path):
    picture(1).save(tmp_path / "one.png")
    assert np.array_equal(picture_files.picture(tmp_path / "one.png", 3, 12, 12), pixels(1).transpose(2, 0, 1))
    assert picture_files.picture(tmp_path / "one.png", 1, 12, 12).shape == (1, 12, 12)


def test_a_larger_picture_is_averaged_as_training_makes_pictures_small(tmp_path):
    picture(1, width=24, height=48).save(tmp_path / "one.png")
    read = picture_files.picture(tmp_path / "one.png", 3, 8, 4)
    expected = pixels(1, 24, 48).reshape(8, 6, 4, 6, 3).mean((1, 3)).transpose(2, 0, 1)
    assert np.abs(read - expected).max() <= 1


def test_a_smaller_picture_or_none_is_refused(tmp_path):
    picture(1).save(tmp_path / "one.png")
    with pytest.raises(UserError, match=r"one\.png is 12x12 pixels, smaller than the 12x13"):
        picture_files.picture(tmp_path / "one.png", 3, 13, 12)
    (tmp_path / "notes.txt").write_text("notes")
    for name in ("notes.txt", "absent.png"):
        with pytest.raises(UserError, match=f"{name} cannot be read as a picture"):
            picture_files.picture(tmp_path / name, 3, 4, 4)


def test_files_are_one_or_those_of_a_folder(tmp_path):
    (tmp_path / "some").mkdir()
    for name in ("b.png", "a.png", ".hidden"):
        (tmp_path / "some" / name).touch()
    assert [file.name for file in picture_files.files(tmp_path / "some")] == ["a.png", "b.png"]
    assert picture_files.files(tmp_path / "some" / "b.png") == [tmp_path / "some" / "b.png"]
    (tmp_path / "empty").mkdir()
    for name in ("empty", "absent"):
        with pytest.raises(UserError, match=f"{name} is no picture and no folder with pictures"):
            picture_files.files(tmp_path / name)


def test_black_is_kept_and_white_drawn(tmp_path):
    painted = np.zeros((8, 16), dtype=np.uint8)
    painted[:, 8:] = 255
    Image.fromarray(painted).save(tmp_path / "mask.png")
    for height, width in ((8, 16), (4, 8), (16, 32)):
        keep = picture_files.mask(tmp_path / "mask.png", height, width)
        assert keep.shape == (height, width)
        assert keep[:, : width // 2].all()
        assert not keep[:, width // 2 :].any()


def test_masks_of_other_proportions_or_that_keep_all_are_refused(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "mask.png")
    with pytest.raises(UserError, match="8x8 pixels and the model's pictures are 8x4"):
        picture_files.mask(tmp_path / "mask.png", 4, 8)
    with pytest.raises(UserError, match="black everywhere, which leaves nothing to draw"):
        picture_files.mask(tmp_path / "mask.png", 8, 8)
