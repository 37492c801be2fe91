"""The sliding window predicts the drawn patterns, and nothing outside the lung."""

import numpy as np
import pytest
from train_support import Drawn

from ildfv.inference.sliding_window import label_map, pattern_counts
from ildfv.train import networks
from ildfv.train.patches import MAJORITY, PatchSet
from ildfv.train.trainer import TrainSettings, train


@pytest.mark.slow
def test_a_trained_baseline_draws_the_label_map(tmp_path):
    slices = Drawn()
    patches = PatchSet(slices, range(8), slices.lungs, per_slice=16)
    settings = TrainSettings(network="patch", threshold=MAJORITY, epochs=6, batch_size=8, learning_rate=1e-3)
    result = train(settings, patches, patches.of(range(6)), patches.of([6, 7]), tmp_path)
    labels, windows = label_map(result.network, slices.data[7], slices.lungs([7])[0])
    assert windows == 51 * 26  # steps of 10 pixels over 512 rows and half of the columns
    assert (labels == slices.maps[7]).mean() > 0.9
    assert (labels[:, 112:] == 0).all()  # nothing outside the lung
    assert pattern_counts(labels)[3] == pytest.approx(256 * 256, rel=0.15)


def test_a_slice_without_lung_takes_no_patch():
    labels, windows = label_map(
        networks.build("patch").eval(), np.zeros((3, 224, 224), np.uint8), np.zeros((224, 224), bool)
    )
    assert windows == 0
    assert not labels.any()
