import torch

from medssl.networks.unetplusplus import UNetPlusPlusDecoder
from tests.networks.decoders import FPN_LEVELS, check_decoder, random_pyramid


def make(spatial_dims, level_channels, num_classes, strides):
    return UNetPlusPlusDecoder(spatial_dims, level_channels, num_classes)


def test_it_is_a_decoder():
    check_decoder(make)


def test_nodes_are_connected_as_in_the_equation_of_the_paper():
    head = UNetPlusPlusDecoder(2, FPN_LEVELS[0], 3).eval()
    pyramid = random_pyramid(*FPN_LEVELS, (12, 8))
    nodes = {(i, 0): level for i, level in enumerate(pyramid)}
    for i, j in ((0, 1), (1, 1), (0, 2)):
        block = head.columns[j - 1][i]
        nodes[i, j] = block.convs(torch.cat([*(nodes[i, k] for k in range(j)), block.upsample(nodes[i + 1, j - 1])], 1))
    torch.testing.assert_close(head(pyramid), head.classify(nodes[0, 2]))


def test_there_is_a_node_for_every_level_and_column():
    head = UNetPlusPlusDecoder(2, (4, 8, 16, 32), 1)
    assert [len(column) for column in head.columns] == [3, 2, 1]


def test_names_of_the_weights_stay_what_they_are():
    names = {name for name, _ in UNetPlusPlusDecoder(2, (4, 8), 1).named_parameters()}
    assert {"classify.bias", "columns.0.0.upsample.deconv.weight", "columns.0.0.convs.conv_0.conv.weight"} <= names
