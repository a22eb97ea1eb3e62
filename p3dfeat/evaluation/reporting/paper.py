"""Numbers of the paper: Qiu, Yao, Mei, "Learning Spatio-Temporal Representation with Pseudo-3D Residual Networks",
ICCV 2017, arXiv 1711.10305. All in per cent.
"""

from typing import Final

from p3dfeat.evaluation.reporting.result import Line, Row


def _rows(columns: tuple[str, ...], table: dict[str, tuple[float, ...]]) -> tuple[Row, ...]:
    return tuple(Row(name, dict(zip(columns, numbers, strict=True))) for name, numbers in table.items())


UCF101: Final = _rows(
    ("accuracy",),
    {
        "paper, C3D": (82.3,),
        "paper, ResNet-152": (83.5,),
        "paper, P3D": (88.6,),
        "paper, P3D with IDT": (93.7,),
    },
)
ACTIVITYNET: Final = _rows(
    ("top-1", "top-3", "mAP"),
    {
        "paper, IDT": (64.70, 77.98, 68.69),
        "paper, C3D": (65.80, 81.16, 67.68),
        "paper, VGG-19": (66.59, 82.70, 70.22),
        "paper, ResNet-152": (71.43, 86.45, 76.56),
        "paper, P3D": (75.12, 87.71, 78.86),
    },
)
ASLAN: Final = _rows(
    ("accuracy", "AUC"),
    {"paper, C3D": (78.3, 86.5), "paper, ResNet-152": (70.4, 77.4), "paper, P3D": (80.8, 87.9)},
)
DYNAMIC_SCENE: Final = _rows(
    ("accuracy",),
    {
        "paper, C3D, Dynamic Scene": (87.7,),
        "paper, ResNet-152, Dynamic Scene": (93.6,),
        "paper, P3D, Dynamic Scene": (94.6,),
    },
)
YUPENN: Final = _rows(
    ("accuracy",),
    {"paper, C3D, YUPENN": (98.1,), "paper, ResNet-152, YUPENN": (99.2,), "paper, P3D, YUPENN": (99.5,)},
)
PCA_DIMENSIONS: Final = (500.0, 300.0, 200.0, 100.0, 50.0, 10.0)
PCA: Final = (  # read off the paper's figure: about a point
    Line("paper, P3D", PCA_DIMENSIONS, (85.0, 84.0, 83.5, 80.0, 75.0, 55.0)),
    Line("paper, C3D", PCA_DIMENSIONS, (79.0, 78.0, 77.0, 76.0, 73.0, 53.0)),
    Line("paper, ResNet-152", PCA_DIMENSIONS, (78.0, 76.0, 74.0, 69.0, 65.0, 36.0)),
)
