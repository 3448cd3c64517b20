"""The page of what was read: a few images of each class, as a model sees them, with every name escaped."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.config import Study
from labelwise.data.sources import open_dataset
from labelwise.models.backbone import input_of
from labelwise.report import contact_sheet
from labelwise.report.contact_sheet import write_sheet
from pictures import encoded, picture, write

pytestmark = pytest.mark.usefixtures("cache")
HOSTILE = "<b onclick=x>&"


def opened(root: Path, **keys: object) -> object:
    return open_dataset(Study.model_validate({"data": str(root), **keys}))


def shown(page: str) -> list[np.ndarray]:
    found = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(20):
        for k, name in enumerate(("ant", HOSTILE)):
            write(tmp_path / "photos" / name / f"{number} <i>.png", encoded(picture(100 * k + number, size=(40, 200))))
    return tmp_path / "photos"


def test_images_of_each_class_and_side(root: Path) -> None:
    page = write_sheet(opened(root), 64, 0.5)  # type: ignore[arg-type]
    assert len(shown(page)) == 2 * (contact_sheet.SHOWN + 4)  # the pool's, and the four of the test set
    assert {image.shape for image in shown(page)} == {(64, 64, 3)}
    assert "pool: 16 images" in page
    assert "test: 4 images" in page
    assert "squares of 64 pixels cut from the centre (50 % of the shorter side)" in page
    assert page == write_sheet(opened(root), 64, 0.5)  # type: ignore[arg-type]


def test_names_are_never_html(root: Path) -> None:
    page = write_sheet(opened(root), 64, 1.0)  # type: ignore[arg-type]
    assert "&lt;b onclick=x&gt;&amp;" in page
    assert "<b onclick" not in page
    assert "<i>" not in page
    assert "default-src 'none'" in page


def test_the_whole_image_on_black(root: Path) -> None:
    page = write_sheet(opened(root, resize="pad"), 60, 1.0)  # type: ignore[arg-type]
    assert "the whole image on black" in page
    for image in shown(page):
        assert image[:20].max() < 40  # a picture of 200x40 leaves black above it
        assert image[25:35].mean() > 40


def test_of_many_classes_the_first(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact_sheet, "CLASSES", 1)
    page = write_sheet(opened(root), 64, 1.0)  # type: ignore[arg-type]
    assert "The first 1 classes are shown; 1 more are not." in page
    assert "<h2>ant</h2>" not in page  # `<b` sorts first
    assert page.count("<h2>") == 1


def test_what_a_backbone_takes_is_known_without_its_weights() -> None:
    assert input_of(Study().learner) == (224, 0.875)
