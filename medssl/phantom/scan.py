"""One scan of the phantom: a patient with the contrast, grid and noise of CT or MR."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from medssl.phantom.anatomy import Patient
from medssl.phantom.shapes import Canvas, rotation

# HU without and with contrast agent (portal venous phase), T1-weighted MR signal, and the standard deviation of the
# texture in HU and MR signal.
_TISSUES = {
    "air": (-1000, -1000, 0, 0),
    "adrenal": (32, 82, 390, 5),
    "aorta": (42, 150, 210, 3),
    "bile": (9, 10, 150, 3),
    "bone": (620, 630, 70, 60),
    "bowel": (42, 82, 330, 12),
    "cortex": (34, 170, 430, 6),
    "disc": (78, 84, 270, 10),
    "faeces": (10, 10, 330, 60),
    "fat": (-103, -102, 850, 9),
    "fluid": (12, 12, 170, 8),
    "gas": (-940, -940, 5, 10),
    "heart": (46, 135, 330, 6),
    "liver": (57, 108, 480, 6),
    "lung": (-835, -825, 40, 35),
    "marrow": (150, 175, 520, 40),
    "medulla": (30, 132, 340, 6),
    "muscle": (52, 64, 320, 10),
    "nerve": (26, 30, 160, 6),
    "pancreas": (41, 96, 470, 10),
    "spleen": (49, 116, 360, 5),
    "vein": (42, 140, 230, 3),
}
# Extent of an adult patient that the field of view must cover, mm: no arms, and nothing below the hips.
_EXTENT = np.array((345.0, 268.0, 255.0))
# Centre of the field of view in the coordinates of the anatomy, mm.
_MIDDLE = np.array((0.0, -4.0, -6.0))


def phantom_case(
    seed: int, modality: str = "CT", shape: Sequence[int] = (96, 80, 40), spacing: Sequence[float] = (2.35, 2.35, 4.25)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make the image, the label map and the affine of one phantom.

    The anatomy is scaled to the field of view, so that every organ is inside whatever the shape. Equal arguments give
    equal bits. Four kinds of grid take turns with `seed`: straight, oblique with the axes of DICOM (to the left, to the
    back), oblique and left-handed, and straight with the axes of DICOM. CT of the last kind is -2000 outside a round
    field of view, as some scanners write it.

    Args:
        seed: seed of the patient and the scan.
        modality: ``CT`` (HU, some contrast agent) or ``MR`` (T1-weighted, arbitrary units, bias field, Rician noise).
        shape: shape of the arrays.
        spacing: size of a voxel in mm.

    Returns:
        The image (int16) and the label map (uint8; see ``LABELS``), both of the given shape, and the affine (4×4) from
        voxel index to mm: x to the patient's right, y to the front, z to the head.

    Raises:
        ValueError: if the modality is neither ``CT`` nor ``MR``, or an axis is too short.

    Example:
        >>> image, label, affine = phantom_case(0, "MR", shape=(48, 40, 20))
        >>> image.shape, image.dtype.name, np.unique(label).tolist()
        ((48, 40, 20), 'int16', [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    if modality not in ("CT", "MR"):
        raise ValueError(f"The modality of a phantom must be CT or MR, got {modality!r}.")
    if len(shape) != 3 or min(shape) < 16:
        raise ValueError(f"A phantom needs three axes of at least 16 voxels each, got shape {tuple(shape)}.")
    rng = np.random.default_rng(seed)
    affine = _affine(rng, seed % 4, shape, spacing)
    points, scale = _patient_points(rng, affine, shape, spacing)
    texture, noise = _correlated(rng, shape, 0.8), _correlated(rng, shape, np.divide(6, np.divide(spacing, scale)))
    values, textures = _tissue_values(rng, modality)
    canvas = Canvas(values, textures, texture, float(spacing[0] / scale))
    Patient(points, noise, rng).draw(canvas)
    acquire = _acquire_ct if modality == "CT" else _acquire_mr
    image = acquire(rng, canvas.image)
    if modality == "CT" and seed % 4 == 3:
        image[_outside_round_field(shape)] = -2000
    return image, canvas.label, affine


def _affine(rng: np.random.Generator, kind: int, shape: Sequence[int], spacing: Sequence[float]) -> np.ndarray:
    """Return the affine of one of the four kinds of grid, with the centre of the volume near the origin."""
    flips = np.array([(1, 1, 1), (-1, -1, 1), (-1, 1, 1), (-1, -1, 1)][kind])
    turn = rng.uniform(3, 8, 3) * rng.choice((-1, 1), 3) * (kind in (1, 2))
    affine = np.eye(4)
    affine[:3, :3] = rotation(turn) @ np.diag(flips * spacing)
    affine[:3, 3] = rng.uniform(-80, 80, 3) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    # NIfTI stores float32; rounding here makes file and array agree to the bit.
    return affine.astype(np.float32).astype(np.float64)


def _patient_points(
    rng: np.random.Generator, affine: np.ndarray, shape: Sequence[int], spacing: Sequence[float]
) -> tuple[np.ndarray, float]:
    """Return the smoothly deformed position of every voxel in the anatomy in mm, and the scale of the patient."""
    scale = float(np.min(np.multiply(shape, spacing) / _EXTENT) * rng.uniform(0.86, 1.0))
    # No patient lies exactly centred or exactly straight.
    middle = _MIDDLE + rng.uniform(-1, 1, 3) * (10, 8, 14)
    turned = rotation(rng.uniform(-1, 1, 3) * (2, 2, 7)) @ affine[:3, :3] / scale
    steps = [np.arange(size) - (size - 1) / 2 for size in shape]
    indices = np.stack(np.meshgrid(*steps, indexing="ij"))
    points = np.tensordot(turned, indices, 1) + middle[:, None, None, None]
    points = points.astype(np.float32)
    deformed = points.copy()
    for axis in range(3):
        for _ in range(4):
            wave = rng.normal(size=3)
            wave *= 2 * np.pi / rng.uniform(160, 400) / np.linalg.norm(wave)
            phase = np.tensordot(wave.astype(np.float32), points, 1) + np.float32(rng.uniform(0, 2 * np.pi))
            deformed[axis] += np.float32(rng.uniform(1, 5)) * np.sin(phase)
    return deformed, scale


def _correlated(rng: np.random.Generator, shape: Sequence[int], sigma: float | Sequence[float]) -> np.ndarray:
    """Return smooth noise of zero mean and unit variance."""
    noise = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
    return (noise - noise.mean()) / noise.std()


def _tissue_values(rng: np.random.Generator, modality: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return the mean and the texture of every tissue of one patient."""
    contrast = rng.uniform(0.2, 0.75)
    values = {}
    for tissue, (native, enhanced, signal, _) in _TISSUES.items():
        if modality == "CT":
            values[tissue] = native + contrast * (enhanced - native) + rng.uniform(-5, 5)
        else:
            values[tissue] = signal * rng.uniform(0.9, 1.1)
    return values, {tissue: float(row[3]) for tissue, row in _TISSUES.items()}


def _acquire_ct(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Return HU with slightly smooth scanner noise."""
    noisy = image + rng.uniform(9, 16) * _correlated(rng, image.shape, (0.6, 0.6, 0.3))
    return np.clip(np.rint(noisy), -1024, 3071).astype(np.int16)


def _acquire_mr(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Return magnitudes in arbitrary units with a smooth coil bias and Rician noise."""
    bias = np.exp(0.18 * _correlated(rng, image.shape, np.array(image.shape) / 5))
    real, imaginary = rng.uniform(12, 22) * rng.standard_normal((2, *image.shape), dtype=np.float32)
    magnitude = np.hypot(np.maximum(image, 0) * bias + real, imaginary)
    return np.rint(rng.uniform(0.4, 2.0) * magnitude).astype(np.int16)


def _outside_round_field(shape: Sequence[int]) -> np.ndarray:
    """Return a mask, in the shape of a slice, of what lies outside the circle over its longer side."""
    x, y = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(x - (shape[0] - 1) / 2, y - (shape[1] - 1) / 2) > max(shape[:2]) / 2
