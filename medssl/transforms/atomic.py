"""Write a volume so that its file appears whole or not at all."""

import logging
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from monai.data import MetaTensor
from monai.transforms import SaveImaged
from monai.utils.enums import MetaKeys
from numpy.typing import NDArray
from torch import Tensor

from medssl.files import flush, staging_folder

logger = logging.getLogger(__name__)


class SaveImageAtomicd(SaveImaged):
    """Save volumes as `monai.transforms.SaveImaged` does, but each file appears whole or not at all.

    A file is written in a hidden folder beside its place and then moved there. An error leaves the former file, if
    there was one, and nothing else; a kill can also leave the hidden folder. All settings are those of MONAI's
    ``SaveImaged``, of which this is a subclass, so that servers that skip file writers, such as MONAI Label, skip it
    too.

    Raises:
        OSError: if the disk is full or the folder may not be written; the message names the file.
        RuntimeError: if MONAI has no writer for the extension.

    Example:
        >>> import os, tempfile, torch
        >>> volume = MetaTensor(torch.ones(1, 4, 4, 4), meta={"filename_or_obj": "case_7.nii.gz"})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save = SaveImageAtomicd("pred", output_dir=folder, output_postfix="seg", separate_folder=False)
        ...     _ = save({"pred": volume})
        ...     print(os.listdir(folder))
        ['case_7_seg.nii.gz']
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # After a full disk MONAI would try its next writer, which need not notice that half of its file is missing.
        self.saver.writers = self.saver.writers[:1]
        self.verbose = self.saver.write_kwargs.pop("verbose")
        self.saver.set_options(write_kwargs={"verbose": False})

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the volumes of ``data`` and return it unchanged."""
        sample = dict(data)
        for key, meta_key, postfix in self.key_iterator(sample, self.meta_keys, self.meta_key_postfix):
            volume = sample[key]
            beside = sample.get(f"{key}_{postfix}" if meta_key is None else meta_key)
            self._save(volume, volume.meta if isinstance(volume, MetaTensor) else beside)
        return sample

    def _save(self, volume: Tensor | NDArray[Any], metadata: dict[str, Any] | None) -> None:
        path = Path(self.saver.folder_layout.filename(**self.saver.fname_formatter(metadata, self.saver)))
        stem = path.name[: len(path.name) - len(self.saver.output_ext)]
        with staging_folder(path.parent, last=path.name) as staging:
            self.saver(volume, metadata, filename=staging / stem)
            for file in staging.iterdir():
                flush(file)
        if self.verbose:
            logger.info("writing: %s", path)
        if self.saver.savepath_in_metadict and metadata is not None:
            metadata[MetaKeys.SAVED_TO] = str(path)
