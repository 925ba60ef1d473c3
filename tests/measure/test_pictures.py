"""Which pictures a source means, and what is refused."""

import subprocess
import sys

import pytest
from PIL import Image

from motif.errors import InputError
from motif.features.pictures import gather, names, opened
from motif.measure import clip_i


@pytest.fixture
def folder(tmp_path, picture):
    for i, name in enumerate(["10.png", "2.png", "1.jpg", "a.webp"]):
        picture(i).save(tmp_path / name)
    Image.new("L", (40, 33), 255).save(tmp_path / "2-mask.png")
    (tmp_path / "prompts.json").write_text("{}")
    (tmp_path / ".2.png").write_bytes(b"half written")
    (tmp_path / "more.png").mkdir()
    return tmp_path


def test_a_folder_is_its_pictures_in_natural_order(folder):
    assert names(gather(folder)) == ("1.jpg", "2.png", "10.png", "a.webp")
    assert gather(str(folder)) == gather(folder)


def test_files_pictures_and_folders_score_alike(folder, clip, references):
    files = gather(folder)
    by_folder = clip_i(folder, references, encoder=clip)
    assert by_folder.images == ("1.jpg", "2.png", "10.png", "a.webp")
    assert clip_i(files, references, encoder=clip).per_image == by_folder.per_image
    assert clip_i([opened(f) for f in files], references, encoder=clip).per_image == by_folder.per_image
    assert clip_i(folder / "2.png", references, encoder=clip).mean == pytest.approx(
        by_folder.per_image[1], abs=1e-6
    )
    assert clip_i((f for f in files), references, encoder=clip).per_image == by_folder.per_image


def test_a_transparent_picture_is_the_same_from_a_file_or_not(tmp_path, picture):
    image = picture(0).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(tmp_path / "a.png")
    assert opened(image).tobytes() == opened(tmp_path / "a.png").tobytes()


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "LA"])
def test_any_mode_is_scored(mode, clip, references, picture):
    assert clip_i(picture(0).convert(mode), references, encoder=clip).n == 1


def test_what_is_not_there_is_refused(tmp_path, clip, references):
    for source in ([], tmp_path):
        with pytest.raises(InputError, match="no generated pictures"):
            clip_i(source, references, encoder=clip)
        with pytest.raises(InputError, match="no reference pictures"):
            clip_i(references, source, encoder=clip)
    with pytest.raises(InputError, match=r"gone\.png"):
        clip_i([references[0], tmp_path / "gone.png"], references, encoder=clip)


def test_a_damaged_picture_is_named_never_skipped(folder, clip, references):
    whole = (folder / "2.png").read_bytes()
    (folder / "2.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"2\.png"):
        clip_i(folder, references, encoder=clip)


def test_importing_metrics_and_reports_is_light():
    """The command line reads their signatures: nothing heavy may come along."""
    heavy = "{'torch', 'transformers', 'diffusers', 'matplotlib', 'jinja2', 'huggingface_hub'}"
    code = f"import sys, motif.measure, motif.report; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
