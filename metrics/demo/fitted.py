"""The numbers that `calibration.fit` found in fifty real cascades, which a test finds again.

The data: 50 Tweets with 2,000 to 17,000 Retweets each, over up to a week, of the TiDeH repository, collected
for SEISMIC (Zhao et al., KDD 2015). Its clock's zone is not stated, so `SHAPE.peak_hour` means nothing
elsewhere.
"""

from __future__ import annotations

from metrics.demo.calibration import AUDIENCE_SHARES, Shape
from metrics.demo.kernel import HOUR, Audience, Kernel, Life

SHAPE = Shape(
    kernel=Kernel(flat=150.0, theta=0.349),
    amplitude=0.138,
    peak_hour=17.0,
    exponent=0.744,
)

# Relative audiences at the shares `AUDIENCE_SHARES`: half of all Retweeters reach less than 0.6 of the mean.
AUDIENCE = Audience(
    AUDIENCE_SHARES,
    (
        0.00573,
        0.0879,
        0.145,
        0.196,
        0.245,
        0.294,
        0.346,
        0.401,
        0.459,
        0.522,
        0.594,
        0.674,
        0.765,
        0.87,
        0.988,
        1.13,
        1.3,
        1.54,
        1.9,
        2.72,
        4.25,
        5.83,
        8.37,
        14.1,
        21.5,
        182.0,
        724.0,
    ),
)

# One for each cascade, in the order of the files: root, ratio, and the hours after which readiness has faded
# to 1/e. fmt: off
_LIVES = (
    (0.705, 1.14, 101.0),
    (23.9, 1.38, 68.2),
    (331.0, 1.0, 480.0),
    (365.0, 1.01, 149.0),
    (124.0, 1.06, 220.0),
    (735.0, 0.713, 149.0),
    (281.0, 0.942, 68.2),
    (264.0, 1.38, 21.1),
    (1521.0, 1.04, 149.0),
    (826.0, 0.671, 68.2),
    (25.1, 1.26, 325.0),
    (801.0, 0.807, 480.0),
    (225.0, 1.03, 325.0),
    (166.0, 1.01, 149.0),
    (323.0, 0.926, 480.0),
    (649.0, 0.918, 101.0),
    (140.0, 1.05, 101.0),
    (283.0, 0.875, 31.2),
    (754.0, 0.888, 480.0),
    (556.0, 0.89, 480.0),
    (321.0, 0.991, 480.0),
    (73.0, 1.29, 149.0),
    (876.0, 1.01, 480.0),
    (1159.0, 0.625, 101.0),
    (165.0, 1.15, 149.0),
    (6.86, 1.51, 21.1),
    (707.0, 1.03, 220.0),
    (1427.0, 1.03, 149.0),
    (514.0, 1.01, 480.0),
    (6.97, 1.45, 101.0),
    (1242.0, 0.987, 480.0),
    (432.0, 0.915, 220.0),
    (7.47, 1.3, 220.0),
    (423.0, 1.01, 149.0),
    (172.0, 1.01, 68.2),
    (1029.0, 0.832, 480.0),
    (867.0, 0.658, 480.0),
    (1325.0, 1.02, 149.0),
    (167.0, 1.07, 220.0),
    (789.0, 1.02, 101.0),
    (84.7, 1.24, 68.2),
    (554.0, 0.777, 68.2),
    (181.0, 1.13, 21.1),
    (149.0, 1.06, 480.0),
    (281.0, 0.931, 325.0),
    (93.9, 1.13, 325.0),
    (1459.0, 1.2, 3.0),
    (106.0, 1.33, 68.2),
    (631.0, 0.843, 149.0),
    (1189.0, 0.894, 480.0),
)
# fmt: on
LIVES = tuple(Life(root, ratio, hours * HOUR) for root, ratio, hours in _LIVES)
