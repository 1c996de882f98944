"""Load files with 3D Slicer's own classes and print what they contain. Runs in the slicer-core environment.

    python scene.py VOLUME SEGMENTATION [NAME ...]

prints one JSON object: the volume's voxel count and corner in world RAS mm, and for every segment its name, colour,
terminology, label value, voxel count and centroid in world RAS mm; and Slicer's own messages. With names, the file is
imported as a label map, as MONAI Label's plugin imports a result.
"""

import json
import sys

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy


def volume_seen(scene, path: str) -> dict:
    """The size of a volume and the places of its first and last voxel."""
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
    """The segments of a segmentation."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(path)
    loaded = bool(storage.ReadData(node))
    return {
        "loaded": loaded,
        "offered": bool(storage.SupportedFileType(path)),
        "segments": segments_seen(node),
        "messages": storage.GetUserMessages().GetAllMessagesAsString(),
    }


def label_map_seen(scene, path: str, names: list[str]) -> dict:
    """The segments that a label map becomes; the names belong to the values 1, 2, ..."""
    label_map = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(path)
    loaded = bool(storage.ReadData(label_map))
    # Slicer's module does this at its start; without it segments cannot be made.
    factory = slicer.vtkSegmentationConverterFactory.GetInstance()
    factory.RegisterConverterRule(slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule())
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    ids = vtk.vtkStringArray()
    for name in names:
        ids.InsertNextValue(name)
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(label_map, node, ids)
    return {"loaded": loaded, "segments": segments_seen(node)}


def segments_seen(node) -> list[dict]:
    """The segments of a node in their order."""
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    return [segment_seen(segmentation.GetSegment(i)) for i in ids]


def segment_seen(segment) -> dict:
    """Name, colour, terminology and voxels of one segment."""
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
    volume, segmentation, *names = sys.argv[1:]
    segments = label_map_seen(scene, segmentation, names) if names else segmentation_seen(scene, segmentation)
    seen = {"volume": volume_seen(scene, volume), "segmentation": segments}
    print("SEEN " + json.dumps(seen))
