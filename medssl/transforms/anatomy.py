"""Colours and standard terms of anatomical structures, so that a segment looks and reads the same in every viewer."""

import colorsys

_CATEGORY = "SCT^123037004^Anatomical Structure"
# Code, scheme and meaning, in the order of DICOM.
Code = tuple[str, str, str]
_SIDES = {"right": "SCT^24028007^Right", "left": "SCT^7771000^Left"}

# Colours (0-255) of 3D Slicer's GenericAnatomyColors table; SNOMED CT codes and meanings of its terminologies.
_ANATOMY: dict[str, tuple[tuple[int, int, int], str]] = {
    "adrenal gland": ((249, 186, 150), "SCT^23451007^Adrenal gland"),
    "aorta": ((224, 97, 76), "SCT^15825003^Aorta"),
    "colon": ((204, 168, 143), "SCT^71854001^Colon"),
    "duodenum": ((255, 253, 229), "SCT^38848004^Duodenum"),
    "esophagus": ((211, 171, 143), "SCT^32849002^Esophagus"),
    "gallbladder": ((139, 150, 98), "SCT^28231008^Gallbladder"),
    "heart": ((206, 110, 84), "SCT^80891009^Heart"),
    "inferior vena cava": ((0, 151, 206), "SCT^64131007^Inferior vena cava"),
    "kidney": ((185, 102, 83), "SCT^64033007^Kidney"),
    "liver": ((221, 130, 101), "SCT^10200004^Liver"),
    "lung": ((197, 165, 145), "SCT^39607008^Lung"),
    "pancreas": ((249, 180, 111), "SCT^15776009^Pancreas"),
    "prostate": ((230, 158, 140), "SCT^41216001^Prostate"),
    "small bowel": ((205, 167, 142), "SCT^30315005^Small Intestine"),
    "spinal cord": ((244, 214, 49), "SCT^2748008^Spinal cord"),
    "spine": ((226, 202, 134), "SCT^421060004^Spine"),
    "spleen": ((157, 108, 162), "SCT^78961009^Spleen"),
    "stomach": ((216, 132, 105), "SCT^69695003^Stomach"),
    "trachea": ((182, 228, 255), "SCT^44567001^Trachea"),
    "urinary bladder": ((222, 154, 132), "SCT^89837001^Bladder"),
    "vertebra": ((226, 202, 134), "SCT^51282000^Vertebra"),
}
_SYNONYMS = {"bladder": "urinary bladder", "kidneys": "kidney", "oesophagus": "esophagus", "vertebrae": "vertebra"}


def _structure(name: str) -> tuple[str, str | None]:
    """Return the structure and the side of a name such as ``left kidney`` or ``kidney_left``."""
    words = name.lower().replace("_", " ").split()
    side = next((word for word in words if word in _SIDES), None)
    structure = " ".join(word for word in words if word not in _SIDES)
    return _SYNONYMS.get(structure, structure), side


def anatomy_color(name: str, label: int) -> tuple[float, float, float]:
    """Colour of a structure as red, green and blue in [0, 1].

    Known structures have the colour of 3D Slicer's ``GenericAnatomyColors``. Others get one from their label value,
    with hues a golden ratio apart, so that neighbouring values are easy to tell apart.

    Args:
        name: name of the structure, in upper or lower case; a side may come before or after it.
        label: label value of the structure.

    Example:
        >>> [round(255 * part) for part in anatomy_color("Kidney_left", 2)]
        [185, 102, 83]
    """
    structure, _ = _structure(name)
    if structure in _ANATOMY:
        red, green, blue = _ANATOMY[structure][0]
        return red / 255, green / 255, blue / 255
    return colorsys.hsv_to_rgb(label * 0.618034 % 1.0, 0.6, 0.9)


def anatomy_codes(name: str) -> tuple[Code, Code, Code | None]:
    """Return category, type and side of a structure, each as code, scheme and meaning (SNOMED CT).

    The type of a structure that is not known is "Anatomical Structure".

    Args:
        name: name of the structure, in upper or lower case; a side may come before or after it.

    Example:
        >>> anatomy_codes("left kidney")[1:]
        (('64033007', 'SCT', 'Kidney'), ('7771000', 'SCT', 'Left'))
        >>> anatomy_codes("lesion")[1:]
        (('123037004', 'SCT', 'Anatomical Structure'), None)
    """
    structure, side = _structure(name)
    known = _ANATOMY[structure][1] if structure in _ANATOMY else _CATEGORY
    return _code(_CATEGORY), _code(known), _code(_SIDES[side]) if side and structure in _ANATOMY else None


def _code(entry: str) -> Code:
    scheme, value, meaning = entry.split("^")
    return value, scheme, meaning


def anatomy_term(name: str) -> str | None:
    """Terminology entry of a structure as 3D Slicer stores it, or ``None`` for an unknown structure.

    Seven parts joined by ``~``: context, category, type, type modifier (the side), region context, region, region
    modifier; each code is ``scheme^value^meaning`` (SNOMED CT).

    Args:
        name: name of the structure, in upper or lower case; a side may come before or after it.

    Example:
        >>> anatomy_term("liver").split("~")[1:3]
        ['SCT^123037004^Anatomical Structure', 'SCT^10200004^Liver']
    """
    structure, side = _structure(name)
    if structure not in _ANATOMY:
        return None
    modifier = _SIDES[side] if side else "^^"
    context = "Segmentation category and type - 3D Slicer General Anatomy list"
    region = "Anatomic codes - DICOM master list~^^~^^"
    return "~".join((context, _CATEGORY, _ANATOMY[structure][1], modifier, region))
