from medssl.workflows.suiting_weights import suiting_weights

FIELD = (380.0, 380.0, 300.0)


def test_weights_suit_scans_of_their_modality_voxel_size_and_field_of_view():
    assert suiting_weights("CT", (1.4, 1.4, 4.0), FIELD).name == "abdomen-ct-4mm"
    # Half as long along an edge as the larger ones may be.
    assert suiting_weights("CT", (0.5, 0.5, 0.6), FIELD).name == "abdomen-ct"


def test_no_weights_suit_what_is_unlike_all_of_them():
    assert suiting_weights("MR", (1.4, 1.4, 4.0), FIELD) is None
    assert suiting_weights("CT", (0.1, 0.1, 0.1), FIELD) is None
    assert suiting_weights("CT", (1.4, 1.4, 4.0), (64.0, 64.0, 16.0)) is None
    assert suiting_weights("CT", (1.0, 1.0), FIELD[:2]) is None
