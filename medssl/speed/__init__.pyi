from .gate import RequireGradientParity as RequireGradientParity
from .switches import Accelerated as Accelerated
