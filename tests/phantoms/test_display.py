"""What a detector and its processing make of a density."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from thorax.phantoms.canvas import stream
from thorax.phantoms.display import Display, develop, sample_display
from thorax.phantoms.phantom import expose

QUIET = Display(
    grain=1e-6,
    tilt=np.zeros(2),
    compression=0.3,
    sharpening=0.4,
    gamma=1.0,
    contrast=1.0,
    matching=1.0,
    shutter=np.zeros(4),
)


def _density() -> npt.NDArray[np.float32]:
    return expose(3, 4, [], side=256).density


def test_a_lighter_or_more_contrasting_exposure_is_displayed_alike() -> None:
    density = _density()
    usual = develop(density, QUIET, stream(0, 0, 0)).astype(float)
    stretched = develop(density * np.float32(1.15), QUIET, stream(0, 0, 0)).astype(float)
    body = density > 0.1
    assert np.abs(usual - stretched)[body].mean() < 2.5
    assert abs(usual[body].mean() - stretched[body].mean()) < 1.5


def test_more_dose_means_less_noise_and_dense_parts_have_the_most() -> None:
    density = _density()
    clean = develop(density, QUIET, stream(0, 0, 0)).astype(float)
    noise = [
        develop(density, replace(QUIET, grain=grain), stream(0, 0, 0)) - clean
        for grain in (0.001, 0.002)
    ]
    assert 1.5 < noise[1].std() / noise[0].std() < 2.5
    ramp = np.tile(np.linspace(0.1, 1.2, 256, dtype=np.float32), (256, 1))
    plain = replace(QUIET, compression=0.0, sharpening=0.0)
    still, grainy = (
        develop(ramp, replace(plain, grain=grain), stream(0, 0, 0)).astype(float)
        for grain in (1e-6, 0.003)
    )
    spread = (grainy - still).std(axis=0)
    assert spread[180:200].mean() > 1.2 * spread[80:100].mean()


def test_denser_is_never_darker_without_local_processing() -> None:
    ramp = np.tile(np.linspace(0.1, 1.2, 256, dtype=np.float32), (256, 1))
    plain = replace(QUIET, compression=0.0, sharpening=0.0)
    row = develop(ramp, plain, stream(0, 0, 0))[128].astype(int)
    assert (np.diff(row) >= 0).all()
    assert row[-1] - row[0] > 180


def test_a_shutter_is_black_at_its_edge_alone() -> None:
    density = np.full((128, 128), 0.6, np.float32)
    density += np.linspace(0, 0.1, 128, dtype=np.float32)
    shut = replace(QUIET, shutter=np.array((0.1, 0, 0, 0.25)))
    pixels = develop(density, shut, stream(0, 0, 0))
    assert (pixels[:, :12] == 4).all()
    assert (pixels[-31:] == 4).all()
    assert (pixels[:90, 40:] > 4).all()


def test_processing_varies_widely() -> None:
    drawn = [sample_display(stream(1, index, 0)) for index in range(300)]
    assert np.std([d.gamma for d in drawn]) > 0.1
    assert np.std([d.contrast for d in drawn]) > 0.08
    assert max(d.grain for d in drawn) > 2 * min(d.grain for d in drawn)
    assert 0.2 < np.mean([bool(d.shutter.any()) for d in drawn]) < 0.5
