"""The report page: stands alone, escapes, draws."""

import base64
import io
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from motif.errors import InputError
from motif.report import Code, Curve, Grid, Picture, Pictures, Section, Table, curve, render, write_report

EVIL = """<script>alert("1")</script> & 'x' </title> {{ 7 * 7 }}"""
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Reads a page strictly: every tag closed in order; keeps tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"style"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


POINTS = [(float(x), 1 / (1 + x)) for x in range(30)]


def sections(words: str = "words") -> list[Section]:
    """One of everything, every text of it the given words."""
    p = Picture(Image.linear_gradient("L").resize((64, 64)), words)
    return [
        Section(
            words,
            f"{words}\n\nsecond",
            (Pictures((p, p), words), Grid((words, "b"), {words: (p, p), "row": (p, p)}, words)),
        ),
        Section(
            "Numbers",
            "",
            (
                Table((words, "mean"), ((words, -0.12345), ("b", 2), ("c", None)), words),
                Curve(curve({words: POINTS, "two": POINTS[:5]}, words, words), words),
                Code(words, words),
            ),
        ),
    ]


def page(words: str = "words") -> Page:
    return Page(render(words, sections(words), lead=words, foot=words))


def test_a_page_opens_in_a_strict_parser_with_all_that_was_given():
    read = page()
    counted = {
        tag: sum(t == tag for t, _ in read.tags) for tag in ("img", "svg", "table", "section", "pre", "h2")
    }
    assert counted == {"img": 6, "svg": 1, "table": 2, "section": 2, "pre": 1, "h2": 2}
    assert read.tags[0][0] == "html"


def test_nothing_is_loaded_from_anywhere():
    text = render("a", sections())
    assert not re.search(r"https?:|//[a-z]|@import|<link|<script", re.sub(r"base64,[\w+/=]+", "", text))
    for tag, attributes in Page(text).tags:
        for key in ("src", "href", "xlink:href"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:image/png;base64,", "#")), (tag, value)


def test_every_text_is_escaped():
    text = render(EVIL, sections(EVIL), lead=EVIL, foot=EVIL)
    assert "<script" not in text
    read = Page(text)
    assert not any(tag == "script" for tag, _ in read.tags)
    assert read.text.count(" ".join(EVIL.split())) >= 14  # as it was written, wherever it stands
    assert all(attributes["alt"] == EVIL for tag, attributes in read.tags if tag == "img")


@given(st.text(st.characters(exclude_categories=["C"]), max_size=30))
@settings(max_examples=40, deadline=None)
def test_any_words_leave_the_page_whole(words):
    table = Table((words,), ((words,),), words)
    read = Page(render(words, [Section(words, words, (table, Code(words)))], lead=words, foot=words))
    assert [tag for tag, _ in read.tags].count("section") == 1
    if words.strip():
        assert " ".join(words.split()) in read.text


def test_markup_that_curve_did_not_make_is_shown_as_text():
    read = Page(render("a", [Section("b", "", (Curve("<svg onload='x'></svg>"),))]))
    assert not any(tag == "svg" for tag, _ in read.tags)


def test_the_same_content_gives_the_same_bytes():
    assert render("a", sections()) == render("a", sections())


def decoded(picture: Picture) -> Image.Image:
    head, _, data = picture.uri.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_small_picture_is_kept_bit_for_bit_and_shown_larger(tmp_path):
    image = Image.effect_noise((64, 64), 90).convert("RGB")
    image.save(tmp_path / "a.png")
    for source in (image, tmp_path / "a.png", str(tmp_path / "a.png")):
        assert decoded(Picture(source)).tobytes() == image.tobytes()
        assert Picture(source).shown == 128
    assert Picture(image, width=192).shown == 192


@pytest.mark.parametrize(
    ("side", "shown"), [(16, 128), (48, 144), (64, 128), (96, 192), (128, 128), (200, 200), (900, 256)]
)
def test_shown_sizes(side, shown):
    assert Picture(Image.new("RGB", (side, side))).shown == shown


def test_a_large_photo_is_made_small_and_the_callers_is_left_alone():
    image = Image.new("RGB", (2000, 1000), "red")
    assert decoded(Picture(image)).size == (512, 256)
    assert image.size == (2000, 1000)


def test_a_pictures_metadata_stays_at_home():
    image = Image.new("RGB", (8, 8))
    image.info["comment"] = "secret place"
    assert decoded(Picture(image)).info == {}


def test_columns_of_numbers_are_aligned_and_words_are_not():
    rows = [
        {"metric": "clip-i", "mean": -0.12345, "n": 12000},
        {"metric": "kid", "mean": None, "n": 8, "also": True},
    ]
    table = Table.of(rows)
    assert list(table.columns) == ["metric", "mean", "n", "also"]
    assert [table.numeric(i) for i in range(4)] == [False, True, True, False]
    read = Page(render("a", [Section("b", "", (table,))]))
    cells = [attributes.get("class") for tag, attributes in read.tags if tag == "td"]
    assert cells == [None, "number", "number", None] * 2
    assert "−0.123" in read.text
    assert "12\u202f000" in "".join(read.words)
    assert "–" in read.text


def test_a_table_shows_what_is_not_finite():
    assert Table(("a",), ((float("nan"),),)).text(float("nan")) == "nan"


def test_rows_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="1 cells for 2 columns"):
        Table(("a", "b"), ((1,),))
    with pytest.raises(InputError, match="0 pictures for 1 columns"):
        Grid(("a",), {"row": ()})


def test_curves_speak_the_words_they_are_given():
    drawn = Page(curve({"_hidden $x^2$": POINTS, "b <&>": POINTS}, "steps $", "loss_1"))
    for words in ("_hidden $x^2$", "b <&>", "steps $", "loss_1"):
        assert words in drawn.text


def test_curves_follow_the_page_and_do_not_clash():
    one, two = (curve({"a": POINTS[:n]}, "x", "y") for n in (9, 10))
    identifiers = [re.findall(r'\bid="([^"]+)"', svg) for svg in (one, two)]
    assert len(set(identifiers[0])) == len(identifiers[0]) > 5
    assert not set(identifiers[0]) & set(identifiers[1])
    for svg, own in zip((one, two), identifiers, strict=True):
        used = re.findall(r'(?:href="|url\()#([^")]+)', svg)
        assert used
        assert set(used) <= set(own)
        assert "currentColor" in svg
        assert "#000000" not in svg


def test_a_curve_breaks_where_a_point_is_missing_and_needs_one():
    whole = curve({"a": [(0, 1), (1, 2), (2, 3)]}, "x", "y")
    assert curve({"a": [(0, 1), (1, float("nan")), (2, 3)]}, "x", "y") != whole
    for nothing in ({}, {"a": []}, {"a": [(0.0, float("nan"))]}):
        with pytest.raises(InputError):
            curve(nothing, "x", "y")


def test_drawing_does_not_touch_the_users_matplotlib():
    import matplotlib

    before = dict(matplotlib.rcParams)
    curve({"a": POINTS}, "x", "y")
    curve({"猫": POINTS, "b": POINTS}, "ステップ", "y")  # a font without these letters is the page's matter
    assert dict(matplotlib.rcParams) == before


def test_a_report_takes_its_place_whole_or_not_at_all(tmp_path):
    path = write_report(tmp_path / "deep" / "report.html", "one", sections())
    first = path.read_bytes()
    with pytest.raises(InputError, match=r"gone\.png"):
        write_report(path, "two", [Section("a", "", (Pictures((Picture(tmp_path / "gone.png"),)),))])
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_report(tmp_path / "file" / "report.html", "one", [])
