from .auto3dseg import export_auto3dseg as export_auto3dseg
from .checks.preflight import check_bundle as check_bundle
from .loading import LoadedBundle as LoadedBundle
from .loading import load_bundle as load_bundle
from .published_weights import PublishedWeights as PublishedWeights
from .published_weights import read_published_weights as read_published_weights
from .sources import source_bundles as source_bundles
from .weights import load_strictly as load_strictly
