"""Load files with 3D Slicer's own classes and print what it sees. Runs in the slicer-core environment, not in medssl's.

    python scene.py VOLUME SEGMENTATION

prints one JSON object: the volume's voxel count and corner in world RAS mm, and for every segment its name, colour,
terminology, label value, voxel count and centroid in world RAS mm; and Slicer's own messages.
"""

import json
import sys

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy


def volume_seen(scene, path: str) -> dict:
    """Give the size of a volume and where its first and last voxel lie."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(path)
    loaded = bool(storage.ReadData(node))
    if not loaded:
        return {"loaded": False}
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    size = node.GetImageData().GetDimensions()
    corners = [matrix.MultiplyPoint((*index, 1))[:3] for index in ((0, 0, 0), tuple(n - 1 for n in size))]
    return {"loaded": True, "size": size, "corners": corners}


def segmentation_seen(scene, path: str) -> dict:
    """Give the segments of a segmentation."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(path)
    loaded = bool(storage.ReadData(node))
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    return {
        "loaded": loaded,
        "segments": [segment_seen(segmentation.GetSegment(i)) for i in ids],
        "messages": storage.GetUserMessages().GetAllMessagesAsString(),
    }


def segment_seen(segment) -> dict:
    """Give name, colour, terminology, and the voxels of one segment."""
    image = segment.GetRepresentation("Binary labelmap")
    size = image.GetDimensions()
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(size[::-1]).transpose()
    found = np.argwhere(voxels == segment.GetLabelValue()) + np.array(image.GetExtent()[::2])
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    tag = vtk.mutable("")
    segment.GetTag("TerminologyEntry", tag)
    center = matrix.MultiplyPoint((*found.mean(axis=0), 1))[:3] if len(found) else None
    return {
        "name": segment.GetName(),
        "color": segment.GetColor(),
        "terminology": str(tag),
        "value": segment.GetLabelValue(),
        "count": len(found),
        "centroid": center,
    }


if __name__ == "__main__":
    scene = slicer.vtkMRMLScene()
    volume, segmentation = sys.argv[1:]
    seen = {"volume": volume_seen(scene, volume), "segmentation": segmentation_seen(scene, segmentation)}
    print("SEEN " + json.dumps(seen))
