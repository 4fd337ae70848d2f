"""What generation passes on: `Candidates`, many masks as columns.

N counts candidates. All boxes are XYXY in pixels of the original image, right and bottom inclusive.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amg_cli.core import rle as rle_codec
from amg_cli.core.errors import InputError, reason
from amg_cli.core.mask import Mask
from amg_cli.core.rle import Rle

VERSION = 1  # of the files of `Candidates.save`
_COLUMNS = ("boxes_xyxy", "pred_iou", "stability_score", "points_xy", "crop_boxes_xyxy")
_MALFORMED = (ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Candidates:
    """Masks that may become results. Tensors are on the CPU; nothing is changed in place.

    rles:            N masks
    boxes_xyxy:      (N, 4) int64, the box of each mask's pixels
    pred_iou:        (N,) float32, the model's own estimate of the mask's IoU; can exceed 1
    stability_score: (N,) float32 in [0, 1]
    points_xy:       (N, 2) float64, the prompt, in pixels of the original image
    crop_boxes_xyxy: (N, 4) int64, the crop the mask was found in; right and bottom *exclusive*
    nb_views:        how many views of the image they may come from
    """

    rles: tuple[Rle, ...]
    boxes_xyxy: Tensor
    pred_iou: Tensor
    stability_score: Tensor
    points_xy: Tensor
    crop_boxes_xyxy: Tensor
    nb_views: int = 1

    def __len__(self) -> int:
        return len(self.rles)

    def __getitem__(self, keep: Tensor) -> Candidates:
        """Those that `keep` names: a (N,) bool, or indices in the order wanted."""
        index = keep.nonzero()[:, 0] if keep.dtype == torch.bool else keep
        return Candidates(
            tuple(self.rles[i] for i in index.tolist()),
            self.boxes_xyxy[index],
            self.pred_iou[index],
            self.stability_score[index],
            self.points_xy[index],
            self.crop_boxes_xyxy[index],
            self.nb_views,
        )

    @classmethod
    def empty(cls) -> Candidates:
        """No candidates."""
        no_boxes = torch.zeros((0, 4), dtype=torch.int64, device="cpu")
        no_scores = torch.zeros(0, dtype=torch.float32, device="cpu")
        no_points = torch.zeros((0, 2), dtype=torch.float64, device="cpu")
        return cls((), no_boxes, no_scores, no_scores, no_points, no_boxes)

    @classmethod
    def concat(cls, parts: Sequence[Candidates]) -> Candidates:
        """All of `parts`, in order."""
        parts = [cls.empty(), *parts]
        return cls(
            tuple(rle for part in parts for rle in part.rles),
            torch.cat([part.boxes_xyxy for part in parts]),
            torch.cat([part.pred_iou for part in parts]),
            torch.cat([part.stability_score for part in parts]),
            torch.cat([part.points_xy for part in parts]),
            torch.cat([part.crop_boxes_xyxy for part in parts]),
            max(part.nb_views for part in parts),
        )

    def save(self, path: Path) -> None:
        """Keep them in a file, numpy's .npz, for `load`. Raises OSError."""
        sizes = {tuple(rle["size"]) for rle in self.rles}
        if len(sizes) > 1:
            raise ValueError("masks of several sizes are not of one image")
        texts = [rle["counts"].encode("ascii") for rle in self.rles]
        columns = {name: getattr(self, name).numpy() for name in _COLUMNS}
        with path.open("wb") as file:  # whose name numpy leaves as it is
            np.savez_compressed(
                file,
                version=np.array(VERSION),
                size_hw=np.array(sizes.pop() if sizes else (0, 0)),
                nb_views=np.array(self.nb_views),
                counts=np.frombuffer(b"".join(texts), dtype=np.uint8),
                lengths=np.array([len(text) for text in texts], dtype=np.int64),
                **columns,
            )

    @classmethod
    def load(cls, path: Path) -> Candidates:
        """Those that `save` has kept. Raises InputError where there are none, or damaged ones."""
        try:
            with np.load(path, allow_pickle=False) as file:
                values = {name: file[name] for name in file.files}
            version = int(values["version"])
            if version > VERSION:
                raise InputError(path, "candidates of a newer amg", "use that")
            text = values["counts"].tobytes().decode("ascii")
            ends = values["lengths"].cumsum().tolist()
            size = [int(side) for side in values["size_hw"]]
            rles: list[Rle] = [
                {"size": size, "counts": text[start:end]} for start, end in pairwise([0, *ends])
            ]
            for rle in rles:
                rle_codec.check(rle)
            columns = {name: torch.from_numpy(values[name]) for name in _COLUMNS}
            if {len(column) for column in columns.values()} - {len(rles)}:
                raise ValueError("its columns differ in length")
            return cls(tuple(rles), nb_views=int(values["nb_views"]), **columns)
        except OSError as error:
            raise InputError(path, reason(error), "check the path") from error
        except _MALFORMED as error:
            raise InputError(path, f"no candidates of amg ({error})", "make them again") from error

    def masks(self) -> list[Mask]:
        """Each candidate as a `Mask`, in order."""
        columns = zip(
            self.rles,
            self.boxes_xyxy.tolist(),
            self.pred_iou.tolist(),
            self.stability_score.tolist(),
            self.points_xy.tolist(),
            self.crop_boxes_xyxy.tolist(),
            strict=True,
        )
        return [
            Mask(rle, tuple(box), pred_iou, stability, tuple(point), tuple(crop))
            for rle, box, pred_iou, stability, point, crop in columns
        ]
