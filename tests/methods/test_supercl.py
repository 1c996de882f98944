import pytest
import torch
from pytorch_metric_learning.losses import NTXentLoss, SupConLoss
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from medssl.methods.supercl import SuperCL
from medssl.networks.unet import UNetEncoder
from tests.methods.contract import check_method
from tests.recipes import run_method

IMAGES, SIZE = 4, 16


def make_method(spatial_dims, num_levels=3, **settings):
    backbone = UNetEncoder(spatial_dims, base_channels=4, num_levels=num_levels)
    return SuperCL(backbone, hidden_channels=16, embedding_channels=8, cell_channels=8, **settings)


def make_batch(spatial_dims, num_images=IMAGES):
    generator = torch.Generator().manual_seed(7)
    spatial = (SIZE,) * spatial_dims
    batch = {f"view_{i}": torch.rand(num_images, 1, *spatial, generator=generator) for i in (1, 2, 3, 4)}
    regions = torch.randint(0, 3, (num_images, *spatial), generator=generator)
    voxels = torch.randint(0, SIZE, (10 * num_images, spatial_dims), generator=generator)
    voxels = torch.cat([torch.arange(num_images).repeat(10)[:, None], voxels], dim=1)
    for i in (1, 2):
        batch |= {f"regions_{i}": regions, f"voxels_{i}": voxels}
    return {**batch, "position": torch.rand(num_images, spatial_dims, generator=generator)}


@pytest.mark.parametrize("instance_loss", ["pcl", "wcl", "simclr"])
def test_the_contract_holds(instance_loss):
    check_method(lambda dims: make_method(dims, instance_loss=instance_loss), make_batch)


def cell_regions(batch, stride):
    middle = torch.arange(0, SIZE, stride) + stride // 2
    return batch["regions_1"][:, middle][:, :, middle]


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_within_an_image_cells_of_one_superpixel_are_positives(temperature):
    method, batch = make_method(2, temperature=temperature), make_batch(2)
    maps = [method.backbone(batch[f"view_{k}"])[2] for k in (1, 2)]
    regions = cell_regions(batch, stride=4)
    rows, labels = [], []
    for b in range(IMAGES):
        cells = {tuple((v[1:] // 4).tolist()) for v in batch["voxels_1"] if v[0] == b}
        rows += [torch.stack([m[b, :, x, y] for m in maps for x, y in cells])]
        labels += [torch.tensor([regions[b, x, y] for _ in maps for x, y in cells])]
    z = method.cell_projector(torch.cat(rows)).split([len(r) for r in rows])
    costs = [SupConLoss(temperature=temperature)(*image) for image in zip(z, labels, strict=True)]
    torch.testing.assert_close(method(batch)["intra"], torch.stack(costs).mean().detach())


def average_superpixel_maps(method, batch):
    regions, rows = cell_regions(batch, stride=4), []
    for k in (1, 2):
        means = method.backbone(batch[f"view_{k}"])[2].mean(1).detach()
        for b in range(IMAGES):
            for region in regions[b].unique():
                means[b][regions[b] == region] = means[b][regions[b] == region].mean()
        rows.append(means.flatten(1))
    return torch.cat(rows)


def test_between_images_neighbours_by_their_superpixel_maps_are_positives():
    method, batch = make_method(2), make_batch(2)
    rows = torch.nn.functional.normalize(average_superpixel_maps(method, batch), dim=1)
    nearest = (rows @ rows.T).fill_diagonal_(-2).argmax(1)
    graph = coo_array(([1] * 2 * IMAGES, (range(2 * IMAGES), nearest.tolist())), shape=(2 * IMAGES,) * 2)
    labels = torch.from_numpy(connected_components(graph, directed=False)[1])
    image = torch.arange(IMAGES).repeat(2)
    positives = ((labels[:, None] == labels) | (image[:, None] == image)).fill_diagonal_(False)
    z = torch.cat([method.projector(method.pool(method.backbone(batch[f"view_{k}"]))) for k in (3, 4)])
    similarity = torch.nn.functional.normalize(z, dim=1) @ torch.nn.functional.normalize(z, dim=1).T / 0.1
    log_shares = similarity - similarity.fill_diagonal_(-torch.inf).logsumexp(1, keepdim=True)
    expected = -torch.stack([log_shares[i][positives[i]].mean() for i in range(2 * IMAGES)]).mean()
    torch.testing.assert_close(method(batch)["inter"], expected.detach())


def test_images_joined_by_their_maps_and_both_views_of_an_image_are_alike():
    method = make_method(2, cell_stride=1)
    first = torch.tensor([[4.0, 1.0], [1.0, 4.0], [4.0, 1.1]]).reshape(3, 1, 2, 1)
    second = torch.tensor([[1.0, 3.9], [1.0, 4.1], [1.0, 4.2]]).reshape(3, 1, 2, 1)
    regions = torch.tensor([0, 1]).reshape(1, 2, 1).expand(3, 2, 1)
    alike = method.alike([first, second], [regions, regions])
    # By their maps 0 and 2 go together, and 1, 3, 4, 5; the views of 0, rows 0 and 3, do so all the same.
    assert alike[0].tolist() == [True, False, True, True, False, False]
    assert alike[1].tolist() == [False, True, False, True, True, True]


def test_divided_by_the_image_a_large_superpixel_counts_for_more():
    # Of three cells two are one superpixel: their mean is 2, and their sum over the cells of the image 4 / 3.
    first = torch.tensor([[2.0, 2.0, 4.0], [1.0, 1.0, 2.0], [2.0, 2.0, 2.0]]).reshape(3, 1, 3, 1)
    second = torch.tensor([[2.0, 2.0, 4.1], [1.0, 1.0, 2.1], [2.0, 2.0, 2.1]]).reshape(3, 1, 3, 1)
    regions = torch.tensor([[0, 0, 1], [0, 0, 1], [0, 1, 2]]).reshape(3, 3, 1)
    by_region, by_image = (
        make_method(2, cell_stride=1, divisor=divisor).alike([first, second], [regions, regions])
        for divisor in ("region", "image")
    )
    assert not by_region[0, 2] and by_image[0, 2]


def test_the_total_weighs_its_parts():
    weights = {"instance_weight": 2.0, "intra_weight": 3.0, "inter_weight": 0.25}
    losses = make_method(2, **weights)(make_batch(2))
    expected = 2 * losses["contrastive"] + 3 * losses["intra"] + 0.25 * losses["inter"]
    torch.testing.assert_close(losses["loss"].detach(), expected)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_with_simclr_the_instance_loss_is_nt_xent(temperature):
    method, batch = make_method(2, instance_loss="simclr", temperature=temperature), make_batch(2)
    z = torch.cat([method.projector(method.pool(method.backbone(batch[f"view_{k}"]))) for k in (3, 4)])
    expected = NTXentLoss(temperature)(z, torch.arange(IMAGES).repeat(2))
    torch.testing.assert_close(method(batch)["contrastive"], expected.detach())


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_with_pcl_images_of_one_place_are_positives(temperature):
    method, batch = make_method(2, temperature=temperature), make_batch(2)
    batch["position"] = torch.tensor([[0.1], [0.8], [0.15], [0.85]])
    z = torch.cat([method.projector(method.pool(method.backbone(batch[f"view_{k}"]))) for k in (3, 4)])
    expected = SupConLoss(temperature=temperature)(z, torch.tensor([0, 1, 0, 1]).repeat(2))
    torch.testing.assert_close(method(batch)["contrastive"], expected.detach())


def test_with_wcl_there_is_a_graph_loss():
    losses = make_method(2, instance_loss="wcl")(make_batch(2))
    expected = losses["contrastive"] + losses["graph"] + losses["intra"] + 0.5 * losses["inter"]
    torch.testing.assert_close(losses["loss"].detach(), expected)


def test_collapsed_embeddings_have_no_distance_to_the_collapse_values():
    method = make_method(2)
    for head in (method.projector, method.cell_projector):
        torch.nn.init.zeros_(head[-1].weight)
        torch.nn.init.ones_(head[-1].bias)
    losses = method(make_batch(2))
    for name in ("collapse_distance", "intra_collapse_distance"):
        torch.testing.assert_close(losses[name], torch.tensor(0.0), atol=1e-5, rtol=0)


def test_ids_of_different_images_have_nothing_to_do_with_each_other():
    method, batch = make_method(2), make_batch(2)
    offset = torch.tensor([0, 100, 7, 3000]).reshape(-1, 1, 1)
    renamed = {**batch, "regions_1": batch["regions_1"] + offset, "regions_2": batch["regions_2"] + offset}
    torch.testing.assert_close(method(batch), method(renamed))


@pytest.mark.parametrize(("spatial_dims", "num_levels", "stride"), [(2, 6, 16), (3, 5, 4), (2, 3, 4), (3, 1, 1)])
def test_cells_are_those_of_the_paper_in_2d_and_finer_in_3d(spatial_dims, num_levels, stride):
    method = make_method(spatial_dims, num_levels)
    assert method.backbone.strides[method.level] == stride


def test_a_single_image_names_the_setting():
    with pytest.raises(ValueError, match="set pairs_per_batch to 2 or more"):
        make_method(2)(make_batch(2, num_images=1))


def test_pcl_without_positions_is_an_error():
    batch = make_batch(2)
    del batch["position"]
    with pytest.raises(ValueError, match=r"no 'position'.*choose another method or instance_loss"):
        make_method(2)(batch)


def test_an_unknown_instance_loss_is_named():
    with pytest.raises(ValueError, match="pcl, wcl or simclr, got 'byol'"):
        make_method(2, instance_loss="byol")


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_recipe_trains(spatial_dims, tmp_path):
    sizes = {"base_channels": 4, "num_levels": 3, "pairs_per_batch": 4, "num_voxels": 32, "num_regions": 10}
    assert (run_method("supercl", spatial_dims, tmp_path, **sizes) / "backbone.pt").is_file()
