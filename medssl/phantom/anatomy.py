"""The anatomy of the phantom: an upper abdomen in mm, drawn from solids.

Coordinates are those of an adult patient: x grows to the patient's right, y to the front, z to the head, and the
origin lies in the middle of the body at the level of the first lumbar vertebra.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from medssl.phantom.shapes import Array, Canvas, blend, ellipsoid, tube

LABELS = {
    1: "liver",
    2: "spleen",
    3: "right kidney",
    4: "left kidney",
    5: "aorta",
    6: "gallbladder",
    7: "pancreas",
    8: "adrenal gland",
    9: "spine",
}
_LABEL = {name: label for label, name in LABELS.items()}
_WALL = 11.0  # thickness of the muscles of the abdominal wall, mm


class Patient:
    """One patient, in whom every organ has its own shape and position.

    Args:
        points: coordinates of the voxels in mm, shape ``(3, ...)``; see the module for the axes.
        noise: smooth noise of unit variance in the shape of the image; forms loops of bowel and lobules.
        rng: source of all variation.
    """

    def __init__(self, points: Array, noise: Array, rng: np.random.Generator) -> None:
        self.points, self.noise, self.rng = points, noise, rng
        self.x, self.y, self.z = points
        self.width, self.depth = rng.uniform(0.95, 1.05, 2)
        self.fat = rng.uniform(7, 24)
        self.breath = rng.uniform(-12, 12)

    def draw(self, canvas: Canvas) -> None:
        """Paint the whole patient, from the skin to the smallest organs."""
        self._trunk(canvas)
        self._chest(canvas)
        self._bowel(canvas)
        self._stomach(canvas)
        self._liver(canvas)
        self._spleen(canvas)
        self._skeleton(canvas)
        self._pancreas(canvas)
        self._kidneys(canvas)
        self._vessels(canvas)
        self._adrenals(canvas)

    def _ellipsoid(self, centre: Sequence[float], axes: Sequence[float], turn: Sequence[float] = (0, 0, 0)) -> Array:
        """Return the distance to an ellipsoid whose position, size and orientation vary between patients."""
        rng = self.rng
        return ellipsoid(
            self.points,
            centre + rng.uniform(-6, 6, 3),
            axes * rng.uniform(0.87, 1.12, 3),
            turn + rng.uniform(-12, 12, 3),
        )

    def _tube(self, path: Sequence[Sequence[float]], radii: Sequence[float], vary: float = 6.0) -> Array:
        """Return the distance to a tube whose corners move by up to `vary` mm between patients."""
        path = np.asarray(path) + self.rng.uniform(-vary, vary, (len(path), 3))
        return tube(self.points, path, np.asarray(radii) * self.rng.uniform(0.9, 1.1))

    @cached_property
    def cavity(self) -> Array:
        """Distance to the inner side of the abdominal wall, an oval cylinder with a waist."""
        waist = 1 + 0.04 * np.cos((self.z - 45) / 45)
        a, b, power = 119 * self.width * waist, 79 * self.depth * waist, 2.4
        u, v = np.abs(self.x) / a, np.abs(self.y) / b
        level = np.maximum((u**power + v**power) ** (1 / power), 1e-3)
        slope = np.hypot((u / level) ** (power - 1) / a, (v / level) ** (power - 1) / b)
        return (level - 1) / np.maximum(slope, 1e-4)

    @cached_property
    def diaphragm(self) -> Array:
        """Signed height above the diaphragm in mm: two domes, the right one higher."""
        right = 98 - 110 * (((self.x - 58) / 112) ** 2 + ((self.y - 8) / 92) ** 2)
        left = 88 - 110 * (((self.x + 58) / 105) ** 2 + ((self.y - 8) / 92) ** 2)
        # The domes are steep at their sides, where heights overstate distances.
        return 0.7 * (self.z + self.breath - np.maximum(right, left))

    def _trunk(self, canvas: Canvas) -> None:
        """Paint the skin, the fat under it, the muscles of wall and back, and the inner fat."""
        skin = self.cavity - _WALL - self.fat - 8 * np.clip(-self.y / 80, 0, 1)
        canvas.paint(skin, "muscle")
        canvas.paint(skin + 2.5, "fat")
        canvas.paint(self.cavity - _WALL, "muscle")
        canvas.paint(np.maximum(np.abs(self.cavity - 0.5 * _WALL) - 0.8, self.z - 20 - self.y / 2), "fat")
        canvas.paint(self.cavity, "fat")
        for side in (1, -1):
            canvas.paint(np.maximum(self._ellipsoid((27 * side, -81, 0), (25, 16, 400)), skin + 7), "muscle")
            canvas.paint(
                self._tube([(26 * side, -45, 25), (36 * side, -48, -40), (50 * side, -34, -140)], [6, 17, 22]), "muscle"
            )
            canvas.paint(self._ellipsoid((57 * side, -72, -60), (22, 9, 75)), "muscle")

    def _chest(self, canvas: Canvas) -> None:
        """Paint lungs and heart above the diaphragm."""
        canvas.paint(np.maximum(self.cavity + 1, -self.diaphragm), "lung")
        middle = np.maximum(ellipsoid(self.points, (0, -20, 120), (26, 62, 400)), -self.diaphragm)
        canvas.paint(middle, "fat")
        heart = np.maximum(self._ellipsoid((-22, 28, 132), (62, 46, 48), (0, 15, 0)), -self.diaphragm)
        canvas.paint(heart, "heart")
        canvas.paint(np.maximum(np.abs(self.diaphragm) - 2, self.cavity), "muscle")

    def _bowel(self, canvas: Canvas) -> None:
        """Paint loops of small bowel and the colon with its gas and faeces."""
        region = np.maximum(self._ellipsoid((0, 22, -85), (88, 50, 85)), self.diaphragm + 4)
        canvas.paint(np.maximum(region, 9 * (0.1 - self.noise)), "bowel")
        canvas.paint(np.maximum(region + 5, 9 * (0.9 - self.noise)), "fluid")
        canvas.paint(np.maximum(region + 8, 9 * (1.9 - self.noise)), "gas")
        right = [(93, -18, -150), (95, -20, -60), (88, 5, -32)]
        across = [(60, 52, -38), (0, 62, -52), (-60, 50, -30), (-98, 5, 8)]
        left = [(-102, -20, -20), (-100, -20, -150)]
        colon = np.maximum(self._tube(right + across + left, [23, 22, 20, 18, 17, 17, 15, 14, 14]), self.cavity + 3)
        colon = colon + 2.5 * np.sin((self.x + self.y + self.z) / 6)
        canvas.paint(colon, "bowel")
        canvas.paint(colon + 3.5, "faeces")
        canvas.paint(np.maximum(colon + 4.5, 6 * (0.6 - self.noise - np.clip(self.y / 50, 0, 1))), "gas")

    def _stomach(self, canvas: Canvas) -> None:
        """Paint the stomach of a patient lying on the back: fluid below, gas above it."""
        path = [(-58, -22, 62), (-62, 12, 50), (-48, 45, 12), (-8, 52, -10), (22, 38, -6)]
        stomach = self._tube(path, [30, 31, 25, 17, 11], 5)
        stomach = np.maximum(np.maximum(stomach, self.cavity + 4), self.diaphragm + 4)
        level = self.rng.uniform(22, 38)
        canvas.paint(stomach, "bowel")
        canvas.paint(stomach + 5, "fluid")
        canvas.paint(np.maximum(stomach + 5, level - self.y), "gas")

    def _liver(self, canvas: Canvas) -> None:
        """Paint the liver with its veins, and the gallbladder in its bed below it."""
        right = self._ellipsoid((70, -4, 32), (72, 80, 76), (0, 8, 0))
        left = self._ellipsoid((2, 42, 58), (80, 36, 36), (0, -14, 10))
        liver = blend(right, left, 30)
        visceral = self.x * -0.42 + self.y * -0.12 + (self.z - 5) * -0.9 - 12
        liver = np.maximum(np.maximum(liver, visceral), np.maximum(self.cavity + 2, self.diaphragm + 3))
        canvas.paint(liver, "liver", _LABEL["liver"])
        inside = liver + 6
        for tip in [(110, -15, 45), (75, 50, 50), (10, 45, 65)]:
            canvas.paint(np.maximum(self._tube([(24, -18, 80), tip], [6, 2.5], 6), inside), "vein", _LABEL["liver"])
        for tip in [(95, 15, 15), (80, -35, 20), (25, 40, 45)]:
            canvas.paint(np.maximum(self._tube([(35, 5, 22), tip], [7, 2.5], 5), inside), "vein", _LABEL["liver"])
        canvas.paint(
            self._tube([(42, 14, 6), (52, 34, -10), (56, 50, -24)], [5, 12, 15]), "bile", _LABEL["gallbladder"]
        )

    def _spleen(self, canvas: Canvas) -> None:
        """Paint the spleen: a bowl around the stomach and the upper pole of the left kidney."""
        spleen = self._ellipsoid((-94, -36, 40), (43, 54, 63), (25, 10, -25))
        hollow = self._ellipsoid((-55, 6, 40), (34, 36, 60))
        spleen = np.maximum(np.maximum(spleen, -hollow), np.maximum(self.cavity + 2, self.diaphragm + 3))
        canvas.paint(spleen, "spleen", _LABEL["spleen"])

    def _skeleton(self, canvas: Canvas) -> None:
        """Paint ribs, hips and spine."""
        slanted = self.z + 0.45 * self.y + 0.4 * np.abs(self.x) + self.rng.uniform(0, 32)
        rib = np.maximum(np.abs((slanted % 32) - 16) - 5.5, np.abs(self.cavity - 5) - 4.5)
        # The costal margin rises towards the front; ribs start beside the spine.
        rib = np.maximum(rib, np.maximum(0.85 * (0.7 * self.y + 8 - self.z), 30 - np.abs(self.x)))
        canvas.paint(rib, "bone")
        canvas.paint(rib + 2.5, "marrow")
        for side in (1, -1):
            hip = self._ellipsoid((88 * side, -38, -150), (10, 52, 58), (0, 22 * side, -25 * side))
            hip = np.maximum(hip, self.cavity - _WALL)
            canvas.paint(hip, "bone")
            canvas.paint(hip + 3, "marrow")
        self._spine(canvas)

    def _spine(self, canvas: Canvas) -> None:
        """Paint vertebrae with a cortical rim, the discs between them and the spinal canal."""
        points = self.points.copy()
        points[1] -= -50 + 6 * np.cos((self.z - 10) / 60)
        points[2] = (self.z + self.rng.uniform(0, 36)) % 36 - 18
        x, y, z = points
        column = ellipsoid(points, (0, 0, 0), (23, 17, 400))
        canvas.paint(column + 1, "disc", _LABEL["spine"])
        body = np.maximum(column + 2.5 * (1 - (z / 14) ** 2), np.abs(z) - 14)
        arch = np.maximum(ellipsoid(points, (0, -26, 0), (16, 14, 400)), np.abs(z + 3) - 13)
        process = np.maximum(np.maximum(np.abs(x) - 4, np.abs(y + 44) - 12), np.abs(z + 8) - 9)
        sides = tube(points, [(-40, -27, 2), (0, -22, 0), (40, -27, 2)], [4.5, 6, 4.5])
        vertebra = np.minimum(np.minimum(body, arch), np.minimum(process, sides))
        canvas.paint(vertebra, "bone", _LABEL["spine"])
        canvas.paint(vertebra + 2, "marrow", _LABEL["spine"])
        canvas.paint(ellipsoid(points, (0, -26, 0), (11, 9.5, 400)), "nerve")

    def _pancreas(self, canvas: Canvas) -> None:
        """Paint the pancreas, lobulated, with the duodenum around its head and the splenic vein behind it."""
        duodenum = [(24, 32, -5), (45, 8, -8), (45, -4, -45), (10, -8, -55)]
        canvas.paint(self._tube(duodenum, [11, 12, 12, 10]), "bowel")
        canvas.paint(self._tube([(-78, -24, 30), (-28, -3, 8), (12, -2, 0), (35, 5, 22)], [4, 5, 6, 7], 2), "vein")
        path = [(32, 2, -32), (27, 4, -14), (6, 14, 2), (-30, 8, 12), (-78, -18, 32)]
        pancreas = self._tube(path, [11, 14, 8.5, 10, 8.5]) + 2 * self.noise
        canvas.paint(pancreas, "pancreas", _LABEL["pancreas"])

    def _kidneys(self, canvas: Canvas) -> None:
        """Paint both kidneys: cortex, medulla and the fat of the sinus, which opens to the middle and the front."""
        for side, name, height in ((1, "right kidney", -20), (-1, "left kidney", 2)):
            centre = np.array((66 * side, -43, height)) + self.rng.uniform(-6, 6, 3) * (0.6, 0.6, 2.0)
            turn = np.array((-12, 12 * side, 25 * side)) + self.rng.uniform(-8, 8, 3)
            axes = np.array((29, 24, 53)) * self.rng.uniform(0.85, 1.1, 3)
            kidney = ellipsoid(self.points, centre, axes, turn)
            # Fat behind and below; in front the kidney touches its neighbours.
            bed = ellipsoid(self.points, np.add(centre, (5 * side, -9, -9)), axes + 7, turn)
            canvas.paint(np.maximum(bed, self.cavity + 1), "fat")
            canvas.paint(kidney, "cortex", _LABEL[name])
            canvas.paint(np.maximum(kidney + 7, 5 * (-0.7 - self.noise)), "medulla", _LABEL[name])
            sinus = ellipsoid(self.points, np.add(centre, (-16 * side, 8, 0)), (18, 10, 24), turn)
            canvas.paint(sinus, "fat")
            canvas.paint(
                tube(self.points, [np.add(centre, (-8 * side, 4, 0)), np.add(centre, (-30 * side, 8, -14))], [6, 3]),
                "fluid",
            )

    def _vessels(self, canvas: Canvas) -> None:
        """Paint the aorta down to its division, the inferior vena cava and their large branches."""
        fork = np.array((-3, -22, -88)) + self.rng.uniform(-4, 4, 3)
        for side in (1, -1):
            canvas.paint(tube(self.points, [fork, np.add(fork, (32 * side, -10, -65))], [7.5, 6]), "aorta")
        cava = [(14, -26, -95), (19, -24, -40), (23, -20, 20), (24, -18, 80), (14, -8, 135)]
        canvas.paint(self._tube(cava, [11, 11, 12, 13, 13], 3), "vein")
        canvas.paint(self._tube([(-8, -20, 0), (-6, -4, -25), (-2, 4, -80)], [4, 4, 3.5], 2), "aorta")
        for side in (1, -1):
            canvas.paint(self._tube([(8, -18, 0), (46 * side, -34, -4)], [5, 4], 2), "vein")
        path = np.array([(-12, -36, 200), (-11, -27, 95), (-9, -23, 30)]) + self.rng.uniform(-2, 2, (3, 3))
        aorta = tube(self.points, [*path, fork], np.array([12, 11.5, 10.5, 9]) * self.rng.uniform(0.9, 1.15))
        canvas.paint(aorta, "aorta", _LABEL["aorta"])

    def _adrenals(self, canvas: Canvas) -> None:
        """Paint the adrenal glands above the kidneys: a body in front and two limbs behind."""
        for apex in ((34, -24, 48), (-30, -22, 42)):
            side, apex = np.sign(apex[0]), apex + self.rng.uniform(-3, 3, 3)
            inner = self._tube([apex, np.add(apex, (2 * side, -24, -8))], [4.5, 3.6], 1.5)
            outer = self._tube([apex, np.add(apex, (16 * side, -20, -16))], [4.5, 3.6], 1.5)
            canvas.paint(np.minimum(inner, outer), "adrenal", _LABEL["adrenal gland"])
