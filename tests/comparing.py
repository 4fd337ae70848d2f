"""What tests hold equal: to published values, and masks to masks."""

import numpy as np
import pytest

from tests.goldens import seeded

RELATIVE_TOLERANCE = 1e-4


def assert_same(golden, name, found, sample=seeded.sample):
    """`found` has the golden's shape and, at the sampled places, its values.

    sample: how the golden's values were chosen
    """
    found = np.asarray(found)
    assert found.shape == tuple(golden[f"{name}.shape"])
    ours, published = sample(name, found), golden[name]
    if published.size:
        worst = np.abs(ours.astype(np.float64) - published).max() / np.abs(published).max()
        assert worst <= RELATIVE_TOLERANCE, f"{name}: off by {worst:.1e} of its largest value"


def assert_same_masks(found, wanted, differing_px=2):
    assert [mask.box_xyxy for mask in found] == [mask.box_xyxy for mask in wanted]
    for a, b in zip(found, wanted, strict=True):
        assert np.count_nonzero(a.array() != b.array()) <= differing_px
        assert a.pred_iou == pytest.approx(b.pred_iou, abs=1e-5)
        assert a.stability_score == pytest.approx(b.stability_score, abs=1e-3)
        assert (a.point_xy, a.crop_box_xyxy) == (b.point_xy, b.crop_box_xyxy)
