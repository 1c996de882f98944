from .anatomy import LABELS as LABELS
from .dataset import write_phantom as write_phantom
from .scan import phantom_case as phantom_case
from .synthetic import SyntheticVolumes as SyntheticVolumes
