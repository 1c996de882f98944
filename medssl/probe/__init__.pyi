from .voxel_features import VoxelRows as VoxelRows
from .voxel_features import choose_voxels as choose_voxels
from .voxel_probe import dice_of_classes as dice_of_classes
from .voxel_probe import fit_linear_probe as fit_linear_probe
